#include "probe/stream_metrics.h"

#include <cmath>
#include <limits>
#include <numbers>

#include <gtest/gtest.h>

#include "kernels/cross_entropy.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::tiny_config;
using test::TinyBatch;
using test::TinyModel;

// ---- directions: planted pairs of vectors ----

TEST(AngularDistance, OfEqualAndOppositeVectorsIsExact) {
  Rng rng(1);
  for (int draw = 0; draw < 1000; ++draw) {
    std::vector<float> a(37), flipped(37);
    for (size_t c = 0; c < a.size(); ++c) {
      a[c] = static_cast<float>(rng.normal() * std::exp(20 * rng.uniform() - 10));
      flipped[c] = -a[c];
    }
    // Unclamped, the cosine of a vector with itself passes 1 now and then, and its arccos is NaN.
    ASSERT_EQ(angular_distance(a.data(), a.data(), a.size()), 0.0);
    ASSERT_EQ(angular_distance(a.data(), flipped.data(), a.size()), 1.0);
    const double other = angular_distance(a.data(), a.data() + 1, 36);
    ASSERT_TRUE(other >= 0 && other <= 1) << other;
  }
}

TEST(AngularDistance, OfARotationByThetaIsThetaOverPi) {
  for (const double theta : {1e-3, 0.1, 0.5, 1.5, 3.0}) {
    const double a[] = {2, 0, 0}, b[] = {5 * std::cos(theta), 5 * std::sin(theta), 0};
    EXPECT_NEAR(angular_distance(a, b, 3), theta / std::numbers::pi, 1e-9);
  }
}

TEST(Cosine, OfAZeroVectorIsZeroAndNaNStays) {
  const double zero[] = {0, 0}, one[] = {1, 2}, nan[] = {1, std::numeric_limits<double>::quiet_NaN()};
  EXPECT_EQ(cosine(zero, one, 2), 0.0);
  EXPECT_TRUE(std::isnan(cosine(nan, one, 2)));
}

// ---- means over sequences ----

TEST(SequenceMean, IsOverTokensWithAStandardErrorOverSequences) {
  SequenceMean mean;
  EXPECT_TRUE(std::isnan(mean.mean()));
  mean.add(6, 3);
  EXPECT_TRUE(std::isnan(mean.standard_error()));
  mean.add(2, 1);
  mean.add(4, 4);
  EXPECT_DOUBLE_EQ(mean.mean(), 1.5);  // 12 over 8 tokens
  // Residuals y - 1.5 n: 1.5, 0.5, -2.
  EXPECT_NEAR(mean.standard_error(), std::sqrt(3.0 / 2.0 * (2.25 + 0.25 + 4)) / 8, 1e-12);
}

// With sequences of one length the ratio's error is the textbook's: sample deviation over sqrt(n).
TEST(SequenceMean, OfEqualLengthsHasTheTextbooksError) {
  SequenceMean mean;
  for (const double y : {1.0, 2.0, 4.0, 5.0}) mean.add(10 * y, 10);
  EXPECT_DOUBLE_EQ(mean.mean(), 3.0);
  EXPECT_NEAR(mean.standard_error(), std::sqrt(10.0 / 3.0) / 2, 1e-12);
}

TEST(SequenceMean, LeavesOutRowsWithoutATarget) {
  const int32_t targets[] = {1, kIgnoredTarget, 2, kIgnoredTarget, kIgnoredTarget, kIgnoredTarget};
  const Batch batch{2, 3, targets, targets, nullptr};
  SequenceMean mean;
  mean.add_rows(std::vector<double>{1, 100, 3, 100, 100, 100}.data(), batch);
  EXPECT_DOUBLE_EQ(mean.mean(), 2.0);
  EXPECT_EQ(mean.sequences(), 1u);
}

// ---- observers ----

TEST(StreamStatistics, HasPopulationVarianceAndRms) {
  StreamStatistics<double> statistics(1);
  const double x[] = {1, 3, 5, 5}, after[] = {1000001, 1000003, 0, 0};
  const Batch batch{1, 2, nullptr, nullptr, nullptr};
  statistics.observe({TapPoint::kEmbedding, 0, nullptr, x}, batch, 2);
  statistics.observe({TapPoint::kAttention, 0, x, after}, batch, 2);  // not a layer's output
  statistics.observe({TapPoint::kMlp, 0, x, after}, batch, 2);
  EXPECT_DOUBLE_EQ(statistics.variance[0].mean(), 0.5);  // 1 and 0
  EXPECT_DOUBLE_EQ(statistics.rms[0].mean(), (std::sqrt(5.0) + 5) / 2);
  // Two passes: E[x^2] - mean^2 would lose this variance.
  EXPECT_NEAR(statistics.variance[1].mean(), 0.5, 1e-9);
}

// Layers planted as linear maps: the identity, a sign flip, a quarter turn in planes of two.
TEST(StreamMetrics, OfPlantedLayersAreKnown) {
  const ModelConfig config = tiny_config(NormType::kPre, 3);
  TinyModel<float> m(config);
  const size_t C = config.hidden_size;
  const auto map = [&](float diagonal, float turn) {
    LinearMap<float> linear{std::vector<float>(C * C), std::vector<float>(C)};
    for (size_t i = 0; i < C; ++i) {
      linear.A[i * C + i] = diagonal;
      linear.A[i * C + (i ^ 1)] = i % 2 == 0 ? turn : -turn;
    }
    return linear;
  };
  const LinearMap<float> identity = map(1, 0), flip = map(-1, 0), quarter = map(0, 1);
  const Program<float> program{{0, &identity}, {1, &flip}, {2, &quarter}};
  const TinyBatch data(2, 5, config.vocab_size);
  const Batch batch = data.view();
  BlockInfluence<float> influence(3);
  StepContributions<float> steps(3);
  StreamRecorder<float> record(3);
  const Observer<float> observer = observer_of<float>({&influence, &steps, &record}, batch, C);
  std::vector<float> x(batch.rows() * C);
  m.model.embed(x.data(), batch, observer);
  m.model.run(x.data(), program, batch, observer);
  AngularDistances<float> angles(3);
  angles.add(record, batch, C);
  EXPECT_EQ(angles.all_tokens[0][0].mean(), 0.0);
  EXPECT_EQ(angles.all_tokens[0][1].mean(), 1.0);
  EXPECT_NEAR(angles.all_tokens[0][2].mean(), 0.5, 1e-12);
  EXPECT_EQ(angles.last_token[1][0].mean(), 1.0);  // over identity and flip
  EXPECT_EQ(angles.last_token[0][0].weight(), 2.0);
  EXPECT_EQ(influence.influence[0].mean(), 0.0);
  EXPECT_EQ(influence.influence[1].mean(), 2.0);
  EXPECT_NEAR(influence.influence[2].mean(), 1.0, 1e-12);
  EXPECT_EQ(steps.mlp_contribution[0].mean(), 0.0);
  EXPECT_NEAR(steps.mlp_contribution[1].mean(), 2.0, 1e-12);
  EXPECT_EQ(steps.mlp_cosine[1].mean(), -1.0);
}

TEST(StreamMetrics, DoNotDependOnBatchesOrPadding) {
  const ModelConfig config = tiny_config(NormType::kLns);
  TinyModel<double> m(config);
  const TinyBatch data(3, 6, config.vocab_size);
  const size_t C = config.hidden_size, L = config.num_hidden_layers;
  struct Metrics {
    explicit Metrics(size_t L) : statistics(L), influence(L), steps(L), record(L), angles(L) {}
    StreamStatistics<double> statistics;
    BlockInfluence<double> influence;
    StepContributions<double> steps;
    StreamRecorder<double> record;
    AngularDistances<double> angles;
    void watch(Transformer<double>& model, const Batch& batch, size_t C) {
      std::vector<double> nll(batch.rows());
      model.forward(nll.data(), batch,
                    observer_of<double>({&statistics, &influence, &steps, &record}, batch, C));
      angles.add(record, batch, C);
    }
  };
  Metrics whole(L), parts(L);
  whole.watch(m.model, data.view(), C);
  for (size_t b = 0; b < 3; ++b) {
    std::vector<int32_t> tokens(6 + b, 0), targets(6 + b, kIgnoredTarget);
    std::copy_n(data.tokens.begin() + static_cast<std::ptrdiff_t>(6 * b), 6, tokens.begin());
    std::copy_n(data.targets.begin() + static_cast<std::ptrdiff_t>(6 * b), 6, targets.begin());
    parts.watch(m.model, {1, 6 + b, tokens.data(), targets.data(), nullptr}, C);
  }
  for (size_t l = 0; l < L; ++l) {
    EXPECT_NEAR(whole.statistics.variance[l].mean(), parts.statistics.variance[l].mean(), 1e-12);
    EXPECT_NEAR(whole.statistics.rms[l].standard_error(), parts.statistics.rms[l].standard_error(), 1e-9);
    EXPECT_NEAR(whole.influence.influence[l].mean(), parts.influence.influence[l].mean(), 1e-12);
    EXPECT_NEAR(whole.steps.attn_cosine[l].mean(), parts.steps.attn_cosine[l].mean(), 1e-12);
    EXPECT_NEAR(whole.angles.all_tokens[l][0].mean(), parts.angles.all_tokens[l][0].mean(), 1e-9);
    EXPECT_NEAR(whole.angles.last_token[l][0].mean(), parts.angles.last_token[l][0].mean(), 1e-9);
  }
}

TEST(SequenceMean, ANanStaysOne) {
  SequenceMean mean;
  mean.add(1, 2);
  mean.add(NAN, 2);
  EXPECT_TRUE(std::isnan(mean.mean()));
  EXPECT_TRUE(std::isnan(mean.standard_error()));
}

}  // namespace
}  // namespace fathom
