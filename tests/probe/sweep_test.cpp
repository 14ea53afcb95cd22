#include "probe/sweep.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
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

NoProgress quiet;

TEST(Sweep, PrefixReuseGivesTheLossesOfWholeRuns) {
  for (const NormType type : test::all_norms()) {
    test::TinyModel<float> m(test::tiny_config(type));
    const TokenSequences sequences = sequences_of(37);
    const SweepResult sweep = sweep_layers(m.model, sequences, {.batch_size = 2}, quiet);
    ASSERT_EQ(sweep.removed.size(), 4u);
    EXPECT_EQ(sweep.tokens, 40u);
    // Another batch size: the same numbers.
    const auto prices = price_removals(m.model, sequences, {{1}, {2}, {3}, {4}}, 5, quiet);
    for (size_t l = 1; l <= 4; ++l) {
      const RemovalPrice& price = prices[l - 1];
      const SweptRemoval& swept = sweep.removed[l - 1];
      EXPECT_EQ(swept.layers, std::vector<size_t>{l});
      EXPECT_NEAR(price.loss, sweep.loss, 1e-6);
      EXPECT_NEAR(price.loss_without, swept.loss, 1e-6);
      EXPECT_NEAR(price.delta_loss, swept.delta_loss, 1e-6);
      EXPECT_NEAR(price.delta_loss_stderr, swept.delta_loss_stderr, 1e-6);
      EXPECT_NEAR(price.loss_without - price.loss, price.delta_loss, 1e-9);
    }
  }
}

// Loss of a pass of `program` from the embedding on, sequence by sequence.
double loss_of(Transformer<double>& model, const TokenSequences& sequences, const Program<double>& program) {
  double sum = 0, n = 0;
  for (const auto& ids : sequences) {
    const Batch batch{1, ids.size() - 1, ids.data(), ids.data() + 1, nullptr};
    Buffer<double> x(batch.rows() * model.config().hidden_size);
    std::vector<double> nll(batch.rows());
    model.embed(x.data(), batch);
    model.run(x.data(), program, batch);
    model.losses(nll.data(), x.data(), batch.targets, batch.rows());
    for (const double v : nll) sum += v;
    n += static_cast<double>(batch.rows());
  }
  return sum / n;
}

TEST(Sweep, ABlockIsItsLayersLeftOutTogether) {
  for (const NormType type : test::all_norms()) {
    test::TinyModel<double> m(test::tiny_config(type, 5));
    const TokenSequences sequences = sequences_of(37);
    const SweepResult sweep = sweep_layers(m.model, sequences, {.block = 2, .batch_size = 3}, quiet);
    ASSERT_EQ(sweep.removed.size(), 4u);
    EXPECT_FALSE(sweep.effective_depth.has_value());
    for (size_t first = 1; first <= 4; ++first) {
      EXPECT_EQ(sweep.removed[first - 1].layers, (std::vector<size_t>{first, first + 1}));
      const size_t positions[] = {first - 1, first};
      EXPECT_NEAR(sweep.removed[first - 1].loss,
                  loss_of(m.model, sequences, program_without<double>(5, positions)), 1e-12);
    }
  }
}

// The definition of a sublayer left out, under every scheme: the model whose o (or down) is zero in that
// layer, so that the sublayer gives nothing, with its biases, norms and gains as they are.
TEST(Sweep, ASublayerLeftOutIsOneThatGivesNothing) {
  for (const NormType type : test::all_norms()) {
    for (const Removed what : {Removed::kAttention, Removed::kMlp}) {
      const ModelConfig config = test::tiny_config(type);
      test::TinyModel<double> m(config);
      const TokenSequences sequences = sequences_of(37);
      const SweepResult sweep = sweep_layers(m.model, sequences, {.what = what, .batch_size = 2}, quiet);
      ASSERT_EQ(sweep.removed.size(), 4u);
      EXPECT_FALSE(sweep.effective_depth.has_value());
      for (int l = 0; l < 4; ++l) {
        test::TinyModel<double> silenced(config);
        for (const ParamSpec& p : silenced.weights.list()) {
          if (p.layer != l || p.role != (what == Removed::kAttention ? ParamRole::kO : ParamRole::kDown))
            continue;
          std::fill_n(silenced.weights.values(p), p.size(), 0.0);
        }
        const double expected = loss_of(silenced.model, sequences, whole_program<double>(4));
        EXPECT_NEAR(sweep.removed[static_cast<size_t>(l)].loss, expected, 1e-12)
            << norm_name(type) << " layer " << l + 1;
        EXPECT_NE(sweep.removed[static_cast<size_t>(l)].delta_loss, 0.0);
      }
    }
  }
}

// Pre-type: the stream passes by; post-type: it is normed all the same.
TEST(Sweep, WithoutItsSublayerAStepKeepsTheStreamOrNormsIt) {
  for (const NormType type : {NormType::kLns, NormType::kDeepNorm}) {
    const ModelConfig config = test::tiny_config(type);
    test::TinyModel<double> m(config);
    const test::TinyBatch data(1, 5, config.vocab_size);
    const Batch batch = data.view();
    Buffer<double> x(batch.rows() * config.hidden_size);
    m.model.embed(x.data(), batch);
    const std::vector<double> before(x.data(), x.data() + x.size());
    std::vector<double> middle;
    const Program<double> program{{1, nullptr, LayerPart::kWithoutAttention}};
    m.model.run(x.data(), program, batch, [&](const Tap<double>& tap) {
      if (tap.point == TapPoint::kAttention) middle.assign(tap.after, tap.after + before.size());
    });
    if (type == NormType::kLns) {
      EXPECT_EQ(middle, before);
    } else {
      const double* gain = m.weights.layer(1).attn.norm_sum;
      double squares = 0;
      for (size_t c = 0; c < config.hidden_size; ++c) squares += std::pow(middle[c] / gain[c], 2);
      EXPECT_NEAR(squares / static_cast<double>(config.hidden_size), 1.0, 1e-3);
    }
  }
}

// Counts what the model really runs.
class CountingWeights final : public WeightSource<float> {
 public:
  explicit CountingWeights(ResidentWeights<float>& weights) : weights_(weights) {}
  OuterWeights<float> outer() override { return weights_.outer(); }
  LayerWeights<float> layer(size_t l) override {
    ++layers;
    return weights_.layer(l);
  }
  uint64_t layers = 0;

 private:
  ResidentWeights<float>& weights_;
};

TEST(Sweep, CostsAtMostTheShareOfWholePassesThatItPromises) {
  for (const size_t L : {12u, 24u, 30u}) {
    ResidentWeights<float> weights(test::tiny_config(NormType::kPre, L));
    test::randomize(weights, 1);
    CountingWeights counting(weights);
    Transformer<float> model(weights.config(), counting);
    const TokenSequences one{{1, 2, 3, 4}};
    // How often a pass asks for a layer's weights is its own business: a whole pass says.
    const test::TinyBatch data(1, 3, 37);
    std::vector<double> nll(3);
    model.forward(nll.data(), data.view());
    const auto runs = [&, asked = counting.layers / L] {
      return static_cast<double>(counting.layers / asked);
    };
    const double promised = 0.55 * static_cast<double>((L + 1) * L);
    for (const size_t block : {1u, 3u}) {
      counting.layers = 0;
      const SweepResult sweep = sweep_layers(model, one, {.block = block}, quiet);
      EXPECT_EQ(sweep.layer_runs, runs());
      EXPECT_LE(sweep.layer_runs, promised);
    }
    for (const Removed what : {Removed::kAttention, Removed::kMlp}) {
      counting.layers = 0;
      const SweepResult sweep = sweep_layers(model, one, {.what = what}, quiet);
      // L layers run in half.
      EXPECT_EQ(sweep.layer_runs, runs() - static_cast<double>(L) / 2);
      EXPECT_LE(sweep.layer_runs, promised);
    }
  }
}

TEST(Sweep, StandardErrorsArePairedOverSequences) {
  test::TinyModel<float> m(test::tiny_config(NormType::kPre));
  const TokenSequences sequences = sequences_of(37);
  const SweepResult all = sweep_layers(m.model, sequences, {.batch_size = 2}, quiet);
  std::vector<double> sums, counts;  // of the difference in nats, sequence by sequence
  double total = 0, n = 0;
  for (const auto& ids : sequences) {
    const SweepResult one = sweep_layers(m.model, {ids}, {}, quiet);
    EXPECT_TRUE(std::isnan(one.removed[2].delta_loss_stderr));
    counts.push_back(static_cast<double>(one.tokens));
    sums.push_back(one.removed[2].delta_loss * counts.back());
    total += sums.back();
    n += counts.back();
  }
  double squares = 0;
  for (size_t s = 0; s < sums.size(); ++s) squares += std::pow(sums[s] - total / n * counts[s], 2);
  const double m_ = static_cast<double>(sums.size());
  EXPECT_NEAR(all.removed[2].delta_loss, total / n, 1e-6);
  EXPECT_NEAR(all.removed[2].delta_loss_stderr, std::sqrt(m_ / (m_ - 1) * squares) / n, 1e-6);
}

TEST(Sweep, RefusesBlocksThatLeaveNoLayer) {
  test::TinyModel<float> m(test::tiny_config(NormType::kPre));
  const TokenSequences sequences = sequences_of(37);
  EXPECT_ERROR(sweep_layers(m.model, sequences, {.block = 4}, quiet), ErrorCode::kUsage, "--block 4",
               "give 1 to 3");
  EXPECT_ERROR(sweep_layers(m.model, sequences, {.block = 0}, quiet), ErrorCode::kUsage, "--block 0");
  EXPECT_ERROR(sweep_layers(m.model, sequences, {.block = 5, .what = Removed::kAttention}, quiet),
               ErrorCode::kUsage, "--block 5", "give 1 to 4");
  // Without all attention there still is a model.
  EXPECT_EQ(sweep_layers(m.model, sequences, {.block = 4, .what = Removed::kAttention}, quiet).removed.size(),
            1u);
}

// A loss that is not finite is no loss of 0: a layer that breaks the model is not harmless.
TEST(Sweep, OfALossThatIsNotFiniteSaysSo) {
  test::TinyModel<float> m(test::tiny_config(NormType::kPre));
  const TokenSequences sequences = sequences_of(37);
  SweepResult sweep = sweep_layers(m.model, sequences, {.batch_size = 2}, quiet);
  sweep.effective_depth = NAN;
  EXPECT_TRUE(sweep_json(sweep)["effective_depth"].is_null());
  for (const ParamSpec& spec : m.weights.list()) {
    if (spec.layer == 1 && spec.role == ParamRole::kDown) m.weights.values(spec)[0] = NAN;
  }
  EXPECT_ERROR(sweep_layers(m.model, sequences, {.batch_size = 2}, quiet), ErrorCode::kFailed,
               "the whole model's loss is not finite");
  EXPECT_ERROR(price_removals(m.model, sequences, {{1}}, 2, quiet), ErrorCode::kFailed, "not finite");
}

TEST(Sweep, SeveralLayersAtOnce) {
  test::TinyModel<double> m(test::tiny_config(NormType::kLns));
  const TokenSequences sequences = sequences_of(37);
  const auto prices = price_removals(m.model, sequences, {{1, 2, 3, 4}, {2, 4}}, 3, quiet);
  // Without any layer the model is embedding and head.
  EXPECT_NEAR(prices[0].loss_without, loss_of(m.model, sequences, {}), 1e-12);
  const size_t positions[] = {1, 3};
  EXPECT_NEAR(prices[1].loss_without, loss_of(m.model, sequences, program_without<double>(4, positions)),
              1e-12);
  EXPECT_NEAR(prices[1].loss, loss_of(m.model, sequences, whole_program<double>(4)), 1e-12);
}

TEST(Sweep, JsonHasTheContractsKeys) {
  test::TinyModel<float> m(test::tiny_config(NormType::kPre));
  const nlohmann::json json = sweep_json(sweep_layers(m.model, sequences_of(37), {.batch_size = 2}, quiet));
  for (const char* key : {"loss", "perplexity", "removed", "effective_depth", "effective_depth_ratio"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  for (const auto& entry : json["removed"]) {
    EXPECT_NEAR(std::exp(entry["loss"].get<double>()), entry["perplexity"].get<double>(), 1e-9);
    EXPECT_TRUE(entry.contains("delta_loss") && entry.contains("layers"));
    EXPECT_FALSE(entry.contains("original_layers"));
  }
  EXPECT_EQ(json["removed"][0]["layers"], nlohmann::json({1}));
  EXPECT_EQ(json["what"], "layer");
  EXPECT_EQ(json["block"], 1);
  // Of a pruned model, the layers' numbers in the original too.
  ModelConfig pruned = test::tiny_config(NormType::kPre);
  pruned.norm.num_layers_original = 9;
  pruned.norm.layer_index = {1, 4, 5, 9};
  test::TinyModel<float> p(pruned);
  const nlohmann::json blocks = sweep_json(sweep_layers(p.model, sequences_of(37), {.block = 2}, quiet));
  EXPECT_EQ(blocks["removed"][1]["layers"], nlohmann::json({2, 3}));
  EXPECT_EQ(blocks["removed"][1]["original_layers"], nlohmann::json({4, 5}));
  EXPECT_TRUE(blocks["effective_depth"].is_null());
}

}  // namespace
}  // namespace fathom
