#include "probe/choose_layers.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "probe/sequence_batches.h"
#include "probe/stream_metrics.h"
#include "probe/sweep.h"
#include "support/expect_error.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using Layers = std::vector<size_t>;
NoProgress quiet;

TokenSequences random_sequences(size_t count, uint64_t seed = 4) {
  TokenSequences all;
  Rng rng(seed);
  for (size_t s = 0; s < count; ++s) {
    all.emplace_back();
    for (size_t i = 0; i < 6 + s % 5; ++i) all.back().push_back(static_cast<int32_t>(rng.below(37)));
  }
  return all;
}

// Layers (0-based) whose o and down are zero pass the stream on.
template <class W>
void silence(test::TinyModel<W>& m, std::initializer_list<int> layers) {
  for (const ParamSpec& p : m.weights.list()) {
    if (std::find(layers.begin(), layers.end(), p.layer) == layers.end()) continue;
    if (p.role == ParamRole::kO || p.role == ParamRole::kDown)
      std::fill_n(m.weights.values(p), p.size(), Stream<W>(0));
  }
}

TEST(ChooseLayers, FindsPlantedIdentitiesByAngleAndInfluence) {
  for (const NormType type : {NormType::kPre, NormType::kLns, NormType::kSandwich, NormType::kLayerScale}) {
    test::TinyModel<float> m(test::tiny_config(type, 6));
    silence(m, {2, 3});
    const TokenSequences text = random_sequences(5);
    for (const bool last : {false, true}) {
      const LayerChoice run = choose_layers(
          m.model, text, {.count = 2, .by = ChooseBy::kAngular, .last_token = last, .batch_size = 2}, quiet);
      EXPECT_EQ(run.sets, (std::vector<Layers>{{3}, {3, 4}}));
      EXPECT_EQ(run.scores, (std::vector<double>{0, 0}));
      EXPECT_EQ(run.by_other_tokens, (Layers{3, 4}));
      EXPECT_TRUE(run.order.empty());
    }
    const LayerChoice low =
        choose_layers(m.model, text, {.count = 3, .by = ChooseBy::kInfluence, .batch_size = 2}, quiet);
    EXPECT_EQ(low.sets[1], (Layers{3, 4}));
    EXPECT_EQ(low.scores[1], 0.0);
    EXPECT_GT(low.scores[2], 0.0);
    EXPECT_EQ(low.order.size(), 3u);
  }
}

TEST(ChooseLayers, InfluenceTakesTheLowestInOrder) {
  test::TinyModel<float> m(test::tiny_config(NormType::kPre, 7));
  const TokenSequences text = random_sequences(4);
  BlockInfluence<float> influence(7);
  SequenceBatches batches(text, 4);
  const Batch batch = batches[0];
  std::vector<double> nll(batch.rows());
  m.model.forward(nll.data(), batch, observer_of<float>({&influence}, batch, 24));
  Layers order{1, 2, 3, 4, 5, 6, 7};
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return influence.influence[a - 1].mean() < influence.influence[b - 1].mean();
  });
  const LayerChoice choice =
      choose_layers(m.model, text, {.count = 6, .by = ChooseBy::kInfluence, .batch_size = 4}, quiet);
  order.pop_back();
  EXPECT_EQ(choice.order, order);
}

// The greedy choice, by whole runs of the program: no prefix kept, nothing shared.
Layers greedy_by_brute_force(Transformer<double>& model, const TokenSequences& text, size_t count) {
  const size_t L = model.plans().size();
  Layers gone;
  while (gone.size() < count) {
    double best = INFINITY;
    size_t chosen = 0;
    for (size_t l = 1; l <= L; ++l) {
      if (std::find(gone.begin(), gone.end(), l) != gone.end()) continue;
      Layers without = gone;
      without.push_back(l);
      std::sort(without.begin(), without.end());
      const double loss = price_removals(model, text, {without}, text.size(), quiet)[0].loss_without;
      if (loss < best) {
        best = loss;
        chosen = l;
      }
    }
    gone.push_back(chosen);
  }
  return gone;
}

TEST(ChooseLayers, GreedyByLossIsWhatBruteForceFinds) {
  for (const NormType type : test::all_norms()) {
    test::TinyModel<double> m(test::tiny_config(type, 6));
    const TokenSequences text = random_sequences(5);
    const LayerChoice choice = choose_layers(m.model, text, {.count = 4, .batch_size = 2}, quiet);
    EXPECT_EQ(choice.order, greedy_by_brute_force(m.model, text, 4)) << norm_name(type);
    // Each score is what that removal added, on the text of the choice.
    const auto prices = price_removals(m.model, text, choice.sets, 3, quiet);
    double before = prices[0].loss;
    for (size_t k = 0; k < 4; ++k) {
      EXPECT_NEAR(choice.scores[k], prices[k].loss_without - before, 1e-10);
      before = prices[k].loss_without;
    }
  }
}

TEST(ChooseLayers, GreedyReusesThePrefix) {
  const size_t L = 12;
  test::TinyModel<float> m(test::tiny_config(NormType::kPre, L));
  const LayerChoice choice = choose_layers(m.model, random_sequences(2), {.count = 3}, quiet);
  // Of m layers that are left: one pass, and (m - 1) m / 2 layers after the removals.
  EXPECT_EQ(choice.layer_runs, 12 * 13 / 2 + 11 * 12 / 2 + 10 * 11 / 2);
  EXPECT_LE(choice.layer_runs, 3 * 0.55 * static_cast<double>(L * (L + 1)));
}

TEST(ChooseLayers, EverySetIsWhatFewerWouldHaveBeen) {
  test::TinyModel<float> m(test::tiny_config(NormType::kLns, 6));
  const TokenSequences text = random_sequences(5);
  for (const ChooseBy by : {ChooseBy::kAngular, ChooseBy::kInfluence, ChooseBy::kLoss}) {
    const LayerChoice all = choose_layers(m.model, text, {.count = 4, .by = by}, quiet);
    for (size_t k = 1; k <= 4; ++k) {
      EXPECT_EQ(all.sets[k - 1].size(), k);
      EXPECT_TRUE(std::is_sorted(all.sets[k - 1].begin(), all.sets[k - 1].end()));
      EXPECT_EQ(choose_layers(m.model, text, {.count = k, .by = by}, quiet).sets.back(), all.sets[k - 1]);
    }
  }
}

TEST(ChooseLayers, AngularDistanceIsOverTheTokensThatWereNamed) {
  test::TinyModel<float> m(test::tiny_config(NormType::kPre, 6));
  const TokenSequences text = random_sequences(5);
  AngularDistances<float> angles(6);
  SequenceBatches batches(text, 5);
  const Batch batch = batches[0];
  StreamRecorder<float> record(6);
  std::vector<double> nll(batch.rows());
  m.model.forward(nll.data(), batch, observer_of<float>({&record}, batch, 24));
  angles.add(record, batch, 24);
  for (const bool last : {false, true}) {
    const LayerChoice choice =
        choose_layers(m.model, text, {.count = 3, .by = ChooseBy::kAngular, .last_token = last}, quiet);
    const auto& row = (last ? angles.last_token : angles.all_tokens)[2];
    for (const SequenceMean& distance : row) EXPECT_LE(choice.scores[2], distance.mean() + 1e-9);
    EXPECT_NEAR(row[choice.sets[2][0] - 1].mean(), choice.scores[2], 1e-9);
  }
}

TEST(ChooseLayers, LeavesProtectedLayersAlone) {
  test::TinyModel<float> m(test::tiny_config(NormType::kPre, 6));
  silence(m, {2, 3});
  const TokenSequences text = random_sequences(4);
  const Layers keep{1, 3, 6};
  for (const ChooseBy by : {ChooseBy::kInfluence, ChooseBy::kLoss}) {
    const LayerChoice choice = choose_layers(m.model, text, {.count = 3, .by = by, .keep = keep}, quiet);
    EXPECT_EQ(choice.sets.back(), (Layers{2, 4, 5}));
  }
  const LayerChoice run =
      choose_layers(m.model, text, {.count = 2, .by = ChooseBy::kAngular, .keep = keep}, quiet);
  EXPECT_EQ(run.sets.back(), (Layers{4, 5}));
  EXPECT_ERROR(choose_layers(m.model, text, {.count = 3, .by = ChooseBy::kAngular, .keep = keep}, quiet),
               ErrorCode::kUsage, "no 3 consecutive layers", "protect");
  EXPECT_ERROR(choose_layers(m.model, text, {.count = 4, .keep = keep}, quiet), ErrorCode::kUsage,
               "4 of 6 layers, 3 of them protected");
  EXPECT_ERROR(choose_layers(m.model, text, {.count = 6}, quiet), ErrorCode::kUsage,
               "at least one must stay");
}

TEST(ChooseLayers, RefusesToChooseAmongNumbersThatAreNone) {
  test::TinyModel<float> m(test::tiny_config(NormType::kPre, 3));
  m.weights.values()[5] = NAN;  // the embedding of token 0
  const TokenSequences text{{0, 1, 0, 2}};
  for (const ChooseBy by : {ChooseBy::kAngular, ChooseBy::kInfluence, ChooseBy::kLoss})
    EXPECT_ERROR(choose_layers(m.model, text, {.by = by}, quiet), ErrorCode::kFailed,
                 "no layer can be chosen");
}

TEST(SplitText, ChoosesOnTheFirstHalfAndPricesOnTheOther) {
  const TokenSequences text = random_sequences(5);
  const auto [choosing, pricing] = split_text(text);
  EXPECT_EQ(choosing, (TokenSequences{text[0], text[1]}));
  EXPECT_EQ(pricing, (TokenSequences{text[2], text[3], text[4]}));
  EXPECT_ERROR(split_text(random_sequences(3)), ErrorCode::kFailed, "3 sequences", "smaller --seq");
}

}  // namespace
}  // namespace fathom
