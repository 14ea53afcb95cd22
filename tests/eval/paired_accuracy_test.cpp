#include "eval/paired_accuracy.h"

#include <cmath>

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace fathom {
namespace {

// d = -1, 0, 1, -1, 0: D = -0.2, sum (d - D)^2 = 0.64 + 0.04 + 1.44 + 0.64 + 0.04 = 2.8, SE = sqrt(2.8 / 4 /
// 5).
TEST(AccuracyChange, IsTheMeanOfTheItemsDifferencesWithItsStandardError) {
  const AccuracyChange c =
      accuracy_change({true, true, false, true, false}, {false, true, true, false, false});
  EXPECT_DOUBLE_EQ(c.delta, -0.2);
  EXPECT_NEAR(*c.standard_error, std::sqrt(0.14), 1e-15);
  EXPECT_EQ(c.lost, 2u);
  EXPECT_EQ(c.gained, 1u);
  EXPECT_DOUBLE_EQ(c.mcnemar_p, 1.0);  // 2 (1 + 3) / 8
  EXPECT_TRUE(*c.within_noise());
}

TEST(AccuracyChange, OfNothingIsZeroAndNoise) {
  const AccuracyChange c = accuracy_change({true, false, true}, {true, false, true});
  EXPECT_EQ(c.delta, 0.0);
  EXPECT_EQ(*c.standard_error, 0.0);
  EXPECT_EQ(c.mcnemar_p, 1.0);
  EXPECT_TRUE(*c.within_noise());
}

// All 16 items lost: D = -1 and no spread at all.
TEST(AccuracyChange, BeyondTwoStandardErrorsIsNotNoise) {
  const AccuracyChange all = accuracy_change(std::vector<bool>(16, true), std::vector<bool>(16, false));
  EXPECT_EQ(all.delta, -1.0);
  EXPECT_EQ(*all.standard_error, 0.0);
  EXPECT_FALSE(*all.within_noise());
  EXPECT_DOUBLE_EQ(all.mcnemar_p, 2.0 / 65536);
}

TEST(AccuracyChange, HasNoErrorForASingleItemAndNeedsTheSameItems) {
  const AccuracyChange one = accuracy_change({true}, {false});
  EXPECT_EQ(one.delta, -1.0);
  EXPECT_FALSE(one.standard_error.has_value());
  EXPECT_FALSE(one.within_noise().has_value());
  EXPECT_ERROR(accuracy_change({true}, {true, false}), ErrorCode::kFailed, "other items");
  EXPECT_ERROR(accuracy_change({}, {}), ErrorCode::kFailed, "other items");
}

TEST(McNemar, IsTheExactTwoSidedBinomial) {
  EXPECT_EQ(mcnemar_exact_p(0, 0), 1.0);
  EXPECT_EQ(mcnemar_exact_p(3, 3), 1.0);
  EXPECT_NEAR(mcnemar_exact_p(0, 1), 1.0, 1e-14);           // 2 / 2
  EXPECT_NEAR(mcnemar_exact_p(5, 0), 0.0625, 1e-15);        // 2 / 32
  EXPECT_NEAR(mcnemar_exact_p(1, 9), 22.0 / 1024, 1e-15);   // 2 (1 + 10) / 1024
  EXPECT_NEAR(mcnemar_exact_p(8, 2), 112.0 / 1024, 1e-15);  // 2 (1 + 10 + 45) / 1024
  EXPECT_EQ(mcnemar_exact_p(8, 2), mcnemar_exact_p(2, 8));
}

// The normal approximation with its correction for continuity, z = (|b - c| - 1) / sqrt(b + c), where 2^-n
// underflows.
TEST(McNemar, HoldsForThousandsOfPairs) {
  const double z = (100 - 1) / std::sqrt(4000.0);
  EXPECT_NEAR(mcnemar_exact_p(2050, 1950), std::erfc(z / std::sqrt(2.0)), 1e-4);
  EXPECT_GT(mcnemar_exact_p(700, 500), 0.0);
  EXPECT_LT(mcnemar_exact_p(3000, 500), 1e-300);
}

}  // namespace
}  // namespace fathom
