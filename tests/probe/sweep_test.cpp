#include "probe/sweep.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/tiny_model.h"

namespace fathom {
namespace {

// Sequences of different lengths, so that batches are padded.
TokenSequences sequences_of(size_t vocab_size) {
  TokenSequences all;
  Rng rng(4);
  for (const size_t n : {9u, 12u, 5u, 12u, 7u}) {
    all.emplace_back();
    for (size_t i = 0; i < n; ++i) all.back().push_back(static_cast<int32_t>(rng.below(vocab_size)));
  }
  return all;
}

TEST(EffectiveDepth, CountsTheLayersThatMatter) {
  EXPECT_DOUBLE_EQ(*effective_depth(std::vector<double>{1, 1, 1, 1}), 4.0);
  EXPECT_DOUBLE_EQ(*effective_depth(std::vector<double>{0, 2, -1, 0}), 1.0);
  EXPECT_DOUBLE_EQ(*effective_depth(std::vector<double>{1, 3}), 1.6);
  EXPECT_FALSE(effective_depth(std::vector<double>{0, -1}).has_value());
}

TEST(Sweep, PrefixReuseGivesTheLossesOfWholeRuns) {
  for (const NormType type : test::all_norms()) {
    test::TinyModel<float> m(test::tiny_config(type));
    const TokenSequences sequences = sequences_of(37);
    NoProgress progress;
    const SweepResult sweep = sweep_layers(m.model, sequences, 2, progress);
    ASSERT_EQ(sweep.removed.size(), 4u);
    EXPECT_EQ(sweep.tokens, 40u);
    for (size_t l = 1; l <= 4; ++l) {
      const std::vector<size_t> layers{l};
      // Another batch size, and no prefix kept: the same numbers.
      const RemovalPrice price = price_removal(m.model, sequences, layers, 5);
      EXPECT_NEAR(price.loss, sweep.loss, 1e-6);
      EXPECT_NEAR(price.loss_without, sweep.removed[l - 1].loss, 1e-6);
      EXPECT_NEAR(price.delta_loss, sweep.removed[l - 1].delta_loss, 1e-6);
      EXPECT_NEAR(price.delta_loss_stderr, sweep.removed[l - 1].delta_loss_stderr, 1e-6);
      EXPECT_NEAR(price.loss_without - price.loss, price.delta_loss, 1e-9);
    }
  }
}

TEST(Sweep, CostsAtMostTheShareOfWholePassesThatItPromises) {
  for (const size_t L : {12u, 24u}) {
    test::TinyModel<float> m(test::tiny_config(NormType::kPre, L));
    const TokenSequences one{{1, 2, 3, 4}};
    NoProgress progress;
    const SweepResult sweep = sweep_layers(m.model, one, 1, progress);
    EXPECT_LE(static_cast<double>(sweep.layer_runs), 0.55 * static_cast<double>((L + 1) * L));
  }
}

TEST(Sweep, SeveralLayersAtOnce) {
  test::TinyModel<float> m(test::tiny_config(NormType::kLns));
  const TokenSequences sequences = sequences_of(37);
  const std::vector<size_t> all{1, 2, 3, 4};
  const RemovalPrice price = price_removal(m.model, sequences, all, 3);
  // Without any layer the model is embedding and head.
  double sum = 0;
  size_t n = 0;
  for (const auto& ids : sequences) {
    const Batch batch{1, ids.size() - 1, ids.data(), ids.data() + 1, nullptr};
    Buffer<float> x(batch.rows() * 24);
    std::vector<double> nll(batch.rows());
    m.model.embed(x.data(), batch);
    m.model.losses(nll.data(), x.data(), batch.targets, batch.rows());
    for (const double v : nll) sum += v;
    n += batch.rows();
  }
  EXPECT_NEAR(price.loss_without, sum / static_cast<double>(n), 1e-6);
}

TEST(Sweep, JsonHasTheContractsKeys) {
  test::TinyModel<float> m(test::tiny_config(NormType::kPre));
  NoProgress progress;
  const nlohmann::json json = sweep_json(sweep_layers(m.model, sequences_of(37), 2, progress));
  for (const char* key : {"loss", "perplexity", "removed", "effective_depth", "effective_depth_ratio"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  for (const auto& entry : json["removed"]) {
    EXPECT_NEAR(std::exp(entry["loss"].get<double>()), entry["perplexity"].get<double>(), 1e-9);
    EXPECT_TRUE(entry.contains("delta_loss") && entry.contains("layers"));
  }
  EXPECT_EQ(json["removed"][0]["layers"], nlohmann::json({1}));
}

}  // namespace
}  // namespace fathom
