#include "report/curves.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>

namespace fathom {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(Spread, IsEvenAndHasBothEnds) {
  EXPECT_THAT(spread(5, 10), testing::ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(spread(11, 3), testing::ElementsAre(0, 5, 10));
  EXPECT_THAT(spread(10, 2), testing::ElementsAre(0, 9));
  EXPECT_TRUE(spread(0, 2).empty());
}

TEST(Smooth, AveragesAroundEachPointAndKeepsTheEnds) {
  const Curve curve{{0, 8}, {1, 2}, {2, 5}, {3, 5}, {4, 1}};
  const Curve smoothed = smooth(curve, 3, 100);
  ASSERT_EQ(smoothed.size(), 5u);
  EXPECT_EQ(smoothed[0], (std::pair{0.0, 8.0}));
  EXPECT_DOUBLE_EQ(smoothed[1].second, 5.0);
  EXPECT_DOUBLE_EQ(smoothed[2].second, 4.0);
  EXPECT_EQ(smoothed[4], (std::pair{4.0, 1.0}));
  EXPECT_EQ(smooth(curve, 1, 100), curve);
  EXPECT_THAT(smooth(curve, 1, 3), testing::ElementsAre(curve[0], curve[2], curve[4]));
}

TEST(Smooth, LeavesAStraightLineStraight) {
  Curve line;
  for (int i = 0; i < 100; ++i) line.emplace_back(i, 3.0 * i);
  for (const auto& [x, y] : smooth(line, 21, 40)) EXPECT_NEAR(y, 3.0 * x, 1e-9);
}

TEST(Smooth, SkipsNanAndInfinity) {
  const Curve smoothed =
      smooth({{0, 1}, {1, kNan}, {2, 3}, {3, std::numeric_limits<double>::infinity()}, {4, kNan}, {5, kNan}},
             3, 100);
  EXPECT_DOUBLE_EQ(smoothed[1].second, 2.0);
  EXPECT_DOUBLE_EQ(smoothed[2].second, 3.0);
  EXPECT_TRUE(std::isnan(smoothed[4].second));
}

}  // namespace
}  // namespace fathom
