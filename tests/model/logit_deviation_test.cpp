#include "model/logit_deviation.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace fathom {
namespace {

using Logits = std::vector<float>;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(LogitDeviation, IsRelativeToTheLargest) {
  EXPECT_DOUBLE_EQ(logit_deviation(Logits{1, -4, 2}, Logits{1, -4, 1}), 0.25);
  EXPECT_EQ(logit_deviation(Logits{0, 0}, Logits{0, 0}), 0.0);
}

TEST(LogitDeviation, LetsNothingPassThatIsNotFinite) {
  EXPECT_TRUE(std::isinf(logit_deviation(Logits{kNan, 0}, Logits{1, 0})));
  EXPECT_TRUE(std::isinf(logit_deviation(Logits{1, 0, 5}, Logits{kNan, 0, 5})));
  EXPECT_TRUE(std::isinf(logit_deviation(Logits{kNan}, Logits{kNan})));
  EXPECT_TRUE(std::isinf(logit_deviation(Logits{INFINITY}, Logits{INFINITY})));
  EXPECT_EQ(logit_deviation(Logits{kNan, 2}, Logits{kNan, 2}, true), 0.0);
  EXPECT_TRUE(std::isinf(logit_deviation(Logits{kNan, 2}, Logits{1, 2}, true)));
}

}  // namespace
}  // namespace fathom
