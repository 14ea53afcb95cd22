#include "model/sequence_loss.h"

#include <cmath>

#include <gtest/gtest.h>

#include "support/tiny_model.h"

namespace fathom {
namespace {

TEST(SequenceLoss, MeansAreOverTokensNotSequences) {
  const SequenceLoss loss{{6.0, 1.0}, {3, 1}};
  EXPECT_DOUBLE_EQ(loss.mean(), 7.0 / 4.0);
  EXPECT_DOUBLE_EQ(loss.perplexity(), std::exp(7.0 / 4.0));
  // Residuals 6 - 5.25 and 1 - 1.75: sqrt(2 / 1 * 2 * 0.75^2) / 4.
  EXPECT_NEAR(loss.standard_error(), 0.375, 1e-15);
}

TEST(SequenceLoss, OneSequenceHasNoStandardErrorAndNoneNoMean) {
  EXPECT_TRUE(std::isnan(SequenceLoss{{6.0}, {3}}.standard_error()));
  EXPECT_TRUE(std::isnan(SequenceLoss{}.mean()));
}

TEST(SequenceLoss, DoesNotCountIgnoredTargetsNorHangOnTheBatch) {
  test::TinyModel<float> tiny(test::tiny_config(NormType::kLns));
  test::TinyBatch batch(3, 8, 37);
  for (size_t i = 20; i < 24; ++i) batch.targets[i] = -1;
  SequenceLoss together, apart;
  append_losses(together, tiny.model, batch.view());
  for (size_t b = 0; b < 3; ++b) {
    append_losses(apart, tiny.model,
                  {1, 8, batch.tokens.data() + 8 * b, batch.targets.data() + 8 * b, nullptr});
  }
  EXPECT_EQ(together.count, (std::vector<uint64_t>{8, 8, 4}));
  EXPECT_EQ(apart.count, together.count);
  for (size_t b = 0; b < 3; ++b) EXPECT_NEAR(apart.nll[b], together.nll[b], 1e-6 * together.nll[b]);
}

}  // namespace
}  // namespace fathom
