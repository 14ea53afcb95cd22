// The comparison that the kernel tests rest on.

#include "kernels/kernel_testing.h"

#include <gtest/gtest-spi.h>

namespace fathom {
namespace {

using namespace testing;  // NOLINT: what is tested

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();

TEST(IsClose, AllowsWhatItIsToldTo) {
  EXPECT_TRUE(is_close(100.9, 100, 0.01, 0));
  EXPECT_FALSE(is_close(101.1, 100, 0.01, 0));
  EXPECT_TRUE(is_close(-100.9, -100, 0.01, 0));
  EXPECT_FALSE(is_close(-100, 100, 0.01, 0));
  EXPECT_TRUE(is_close(0.1, 0, 0.01, 0.1));
  EXPECT_FALSE(is_close(0.11, 0, 0.01, 0.1));
  EXPECT_TRUE(is_close(0.0, -0.0, 0, 0));
}

TEST(IsClose, OfAnInfinityIsThatOneAlone) {
  EXPECT_TRUE(is_close(kInf, kInf, 0, 0));
  EXPECT_TRUE(is_close(-kInf, -kInf, 0.1, 0.1));
  for (const double e : {kInf, -kInf}) {
    for (const double a : {-e, 0.0, 1e300, -1e300, kNan}) {
      EXPECT_FALSE(is_close(a, e, 0.1, 0.1)) << a << " for " << e;
      EXPECT_FALSE(is_close(e, a, 0.1, 0.1)) << e << " for " << a;
    }
  }
}

TEST(IsClose, OfANanIsNothingUnlessAsked) {
  for (const double a : {kNan, 0.0, kInf}) {
    EXPECT_FALSE(is_close(a, kNan, 0.1, 0.1)) << a;
    EXPECT_FALSE(is_close(kNan, a, 0.1, 0.1)) << a;
    EXPECT_EQ(is_close(a, kNan, 0.1, 0.1, Nan::kEqualsNan), std::isnan(a));
    EXPECT_EQ(is_close(kNan, a, 0.1, 0.1, Nan::kEqualsNan), std::isnan(a));
  }
}

TEST(ExpectClose, FailsForOneElementOrALength) {
  expect_close(std::vector<float>{1, 2}, std::vector<double>{1, 2}, 0, 0, "equal");
  EXPECT_FATAL_FAILURE(
      expect_close(std::vector<float>{1, 2.5f}, std::vector<double>{1, 2}, 0.1, 0.1, "unlike"), "unlike[1]");
  EXPECT_FATAL_FAILURE(expect_close(std::vector<float>{1}, std::vector<double>{1, 2}, 0, 0, "short"),
                       "short");
}

}  // namespace
}  // namespace fathom
