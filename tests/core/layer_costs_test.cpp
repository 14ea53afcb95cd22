#include "core/layer_costs.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace fathom {
namespace {

using Costs = std::vector<double>;

TEST(EffectiveDepth, CountsTheLayersThatMatter) {
  EXPECT_DOUBLE_EQ(*effective_depth(Costs{1, 1, 1, 1}), 4.0);
  EXPECT_DOUBLE_EQ(*effective_depth(Costs{0, 2, -1, 0}), 1.0);
  EXPECT_DOUBLE_EQ(*effective_depth(Costs{1, 3}), 1.6);
  EXPECT_FALSE(effective_depth(Costs{0, -1}).has_value());
}

TEST(EffectiveDepth, IsNotMeasuredWhereACostIsNotFinite) {
  EXPECT_TRUE(std::isnan(*effective_depth(Costs{1, NAN})));
  EXPECT_TRUE(std::isnan(*effective_depth(Costs{NAN, NAN})));
  EXPECT_TRUE(std::isnan(*effective_depth(Costs{1, INFINITY})));
}

TEST(EffectiveDepth, StandardErrorIsTheDeltaMethods) {
  const auto depth = [](double a, double b) { return (a + b) * (a + b) / (a * a + b * b); };
  const double h = 1e-6;
  const double da = (depth(0.6 + h, 0.3) - depth(0.6 - h, 0.3)) / (2 * h);
  const double db = (depth(0.6, 0.3 + h) - depth(0.6, 0.3 - h)) / (2 * h);
  EXPECT_NEAR(effective_depth_standard_error(Costs{0.6, 0.3}, Costs{0.02, 0.01}),
              std::hypot(0.02 * da, 0.01 * db), 1e-8);
  EXPECT_TRUE(std::isnan(effective_depth_standard_error(Costs{-1}, Costs{0.1})));
  EXPECT_TRUE(std::isnan(effective_depth_standard_error(Costs{1}, Costs{NAN})));
}

// A layer whose cost came out below zero might cost something all the same.
TEST(EffectiveDepth, StandardErrorCountsClippedLayers) {
  const double sure = effective_depth_standard_error(Costs{0.6, 0.3, -0.1}, Costs{0.02, 0.01, 0.0});
  const double far = effective_depth_standard_error(Costs{0.6, 0.3, -0.1}, Costs{0.02, 0.01, 0.01});
  const double near = effective_depth_standard_error(Costs{0.6, 0.3, 0.0}, Costs{0.02, 0.01, 0.05});
  EXPECT_NEAR(sure, far, 1e-9);  // ten standard errors below
  // max(0, X) of X about 0: variance (1/2 - 1/(2 pi)) of X's; the slope at 0 is 2 L / S.
  const double slope = 2 * (0.81 / 0.45) / 0.9;
  const double clipped = slope * 0.05 * std::sqrt(0.5 - 0.5 / M_PI);
  EXPECT_NEAR(near, std::hypot(sure, clipped), 1e-9);
}

TEST(CheapLayers, AreThoseThatAreCheapBeyondTheirNoise) {
  EXPECT_EQ(
      cheap_layers_sentence(Costs{1.0, 0.001, 0.005, 0.02}, Costs{0.1, 0.002, 0.01, 0.002}),
      "1 of 4 layers cost less than 0.01 nats each by itself, 1% of perplexity, at two standard errors: 2. "
      "One cannot be told from that: 3.");
  EXPECT_EQ(
      cheap_layers_sentence(Costs{1.0, 0.02, 0.011}, Costs{0.1, 0.01, 0.01}),
      "No layer is known to cost less than 0.01 nats by itself, 1% of perplexity, at two standard errors. 2 "
      "cannot be told from that: 2-3.");
  EXPECT_EQ(cheap_layers_sentence(Costs{1.0, 0.5}, Costs{0.1, 0.1}),
            "No layer is free: each costs 0.01 nats or more by itself, at two standard errors.");
  EXPECT_EQ(
      cheap_layers_sentence(Costs{1.0, 0.0}, Costs{NAN, NAN}),
      "1 of 2 layers cost less than 0.01 nats each by itself, 1% of perplexity: 2. The noise of the costs is "
      "not known.");
}

}  // namespace
}  // namespace fathom
