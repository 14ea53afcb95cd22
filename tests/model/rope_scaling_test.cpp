#include "model/rope_scaling.h"

#include <cmath>

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(RopeScaling, LinearDividesEveryFrequency) {
  const auto plain = rope_frequencies(64, 10000.0);
  const auto scaled = scaled_frequencies(64, 10000.0, {.type = RopeScaling::Type::kLinear, .factor = 8.0});
  for (size_t i = 0; i < 32; ++i) EXPECT_DOUBLE_EQ(scaled.radians[i], plain.radians[i] / 8);
  EXPECT_EQ(scaled.magnitude, 1.0);
}

// Llama 3.1's own numbers; the three values in the blend computed by hand from the formula.
TEST(RopeScaling, Llama3KeepsTheFastBlendsTheMiddleDividesTheSlow) {
  const RopeScaling s{.type = RopeScaling::Type::kLlama3,
                      .factor = 8.0,
                      .original_context = 8192,
                      .low_freq_factor = 1.0,
                      .high_freq_factor = 4.0};
  const auto plain = rope_frequencies(128, 500000.0), scaled = scaled_frequencies(128, 500000.0, s);
  size_t kept = 0, blended = 0, divided = 0;
  for (size_t i = 0; i < 64; ++i) {
    const double ratio = scaled.radians[i] / plain.radians[i], wavelength = 2 * M_PI / plain.radians[i];
    if (wavelength < 2048) {
      EXPECT_EQ(ratio, 1.0);
      ++kept;
    } else if (wavelength > 8192) {
      EXPECT_DOUBLE_EQ(ratio, 0.125);
      ++divided;
    } else {
      const double share = (8192 / wavelength - 1) / 3;
      EXPECT_NEAR(ratio, share + (1 - share) / 8, 1e-12);
      ++blended;
    }
  }
  EXPECT_EQ(kept, 29u);
  EXPECT_EQ(blended, 6u);
  EXPECT_EQ(divided, 29u);
}

TEST(RopeScaling, YarnRampsFromKeptToDivided) {
  const RopeScaling s{.type = RopeScaling::Type::kYarn, .factor = 4.0, .original_context = 32768};
  const auto plain = rope_frequencies(128, 1e6), scaled = scaled_frequencies(128, 1e6, s);
  // Dimensions of 32 and 1 turns over 32768 positions: 64 log(32768 / (turns 2 pi)) / log(1e6).
  EXPECT_EQ(std::floor(128 * std::log(32768 / (32 * 2 * M_PI)) / (2 * std::log(1e6))), 23);
  EXPECT_EQ(std::ceil(128 * std::log(32768 / (2 * M_PI)) / (2 * std::log(1e6))), 40);
  for (size_t i = 0; i < 64; ++i) {
    const double divided = i <= 23 ? 0.0 : i >= 40 ? 1.0 : (static_cast<double>(i) - 23) / 17;
    EXPECT_NEAR(scaled.radians[i] / plain.radians[i], 1 - divided + divided / 4, 1e-12) << i;
  }
  EXPECT_DOUBLE_EQ(scaled.magnitude, 0.1 * std::log(4.0) + 1.0);
}

TEST(RopeScaling, YarnsMagnitudeMayBeGivenOrComeFromDeepSeeksPair) {
  RopeScaling s{.type = RopeScaling::Type::kYarn, .factor = 40.0, .original_context = 4096};
  s.mscale = 1.0, s.mscale_all_dim = 0.707;
  EXPECT_NEAR(scaled_frequencies(64, 10000.0, s).magnitude,
              (0.1 * std::log(40.0) + 1) / (0.0707 * std::log(40.0) + 1), 1e-12);
  s.attention_factor = 1.25;
  EXPECT_EQ(scaled_frequencies(64, 10000.0, s).magnitude, 1.25);
}

}  // namespace
}  // namespace fathom
