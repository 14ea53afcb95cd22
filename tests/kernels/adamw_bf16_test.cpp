// AdamW with its moments in bf16, and the stochastic rounding that this needs.

#include "kernels/adamw.h"
#include "kernels/kernel_testing.h"
#include "kernels/stochastic_rounding.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

float value_of(bf16 x) { return static_cast<float>(x); }

TEST(StochasticRounding, PicksOneOfTheTwoNeighbours) {
  const float low = 1.0f, high = 1.0f + 0x1p-7f, quarter = 1.0f + 0x1p-9f;
  EXPECT_EQ(value_of(stochastic_bf16(quarter, 0)), low);
  EXPECT_EQ(value_of(stochastic_bf16(quarter, 0xbfff)), low);
  EXPECT_EQ(value_of(stochastic_bf16(quarter, 0xc000)), high);
  EXPECT_EQ(value_of(stochastic_bf16(-quarter, 0xc000)), -high);
  EXPECT_EQ(value_of(stochastic_bf16(quarter, 0x5678bfff)), low) << "16 bits count";
  for (const float exact : {0.0f, -0.0f, 1.5f, -3.0f, 0x1p-126f, std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(stochastic_bf16(exact, 0xffff).bits, bf16(exact).bits) << exact;
  }
  for (const uint32_t payload : {0x7f800001u, 0x7fffffffu, 0xffffffffu}) {
    EXPECT_TRUE(std::isnan(value_of(stochastic_bf16(std::bit_cast<float>(payload), 0xffff))));
  }
}

TEST(StochasticRounding, IsExactlyUnbiasedOverAllBits) {
  Rng rng(1);
  for (int i = 0; i < 20; ++i) {
    const auto x = static_cast<float>(rng.normal() * std::exp(10 * rng.normal()));
    double sum = 0;
    for (uint32_t random = 0; random < 0x10000u; ++random)
      sum += static_cast<double>(value_of(stochastic_bf16(x, random)));
    EXPECT_EQ(sum / 0x1p16, static_cast<double>(x));  // sums of 2^16 bf16 values are exact in double
  }
}

// Over indices, and over steps: each of the 16-bit halves must be uniform, and both must be independent.
TEST(StochasticRounding, BitsAreUniformAndIndependent) {
  constexpr size_t kDraws = 1 << 18, kBins = 256;
  for (const bool over_steps : {false, true}) {
    std::vector<double> low(kBins), high(kBins), both(kBins), next(kBins);
    uint32_t before = 0;
    for (size_t i = 0; i < kDraws; ++i) {
      const uint32_t r =
          over_steps ? rounding_bits(rounding_key(7, i), 5) : rounding_bits(rounding_key(7, 3), i);
      ++low[(r >> 8) & 0xff];
      ++high[r >> 24];
      ++both[((r >> 12) & 0xf) * 16 + (r >> 28)];
      ++next[((r >> 12) & 0xf) * 16 + ((before >> 12) & 0xf)];
      before = r;
    }
    // Chi-squared with 255 degrees of freedom: mean 255, deviation 22.6. 380 is 5.5 deviations above.
    for (const auto* counts : {&low, &high, &both, &next}) {
      double chi = 0;
      for (const double c : *counts) chi += (c - kDraws / kBins) * (c - kDraws / kBins) / (kDraws / kBins);
      EXPECT_LT(chi, 380.0);
      EXPECT_GT(chi, 150.0) << "too even for random bits";
    }
  }
}

TEST(StochasticRounding, BitsDependOnSeedStepAndBothHalvesOfTheIndex) {
  const uint32_t r = rounding_bits(rounding_key(1, 2), 3);
  EXPECT_NE(r, rounding_bits(rounding_key(2, 2), 3));
  EXPECT_NE(r, rounding_bits(rounding_key(1, 3), 3));
  EXPECT_NE(r, rounding_bits(rounding_key(1, 2), 4));
  EXPECT_NE(r, rounding_bits(rounding_key(1, 2), 3 + (uint64_t{1} << 32)));
}

struct State {
  std::vector<float> p;
  std::vector<bf16> m, v, copy;
  explicit State(size_t n) : p(random_values<float>(n, 1)), m(n), v(n), copy(n) {}
  bool operator==(const State& o) const {
    return same_bits(p, o.p) && same_bits(m, o.m) && same_bits(v, o.v) && same_bits(copy, o.copy);
  }
};

void check_against_reference(size_t n, uint64_t first) {
  State fast(n), plain(n);
  AdamWSettings settings{.beta2 = 0.999, .weight_decay = 0.1, .grad_scale = 0.3, .seed = 11, .first = first};
  for (settings.step = 1; settings.step <= 5; ++settings.step) {
    const auto g = random_values<float>(n, 10 + settings.step, std::pow(10.0, 3.0 - 3.0 * settings.step));
    adamw_update(fast.p.data(), fast.m.data(), fast.v.data(), g.data(), fast.copy.data(), n, settings);
    adamw_update_ref(plain.p.data(), plain.m.data(), plain.v.data(), g.data(), plain.copy.data(), n,
                     settings);
    ASSERT_TRUE(fast == plain) << n << " elements from " << first << ", step " << settings.step;
  }
}

TEST(AdamWBf16, HasTheBitsOfTheReference) {
  for_each_isa([] {
    for (const size_t n : odd_sizes()) check_against_reference(n, 0);
    check_against_reference(40001, 12345);                   // more than one chunk
    check_against_reference(100, (uint64_t{1} << 32) - 37);  // the index's lower half wraps within a vector
    check_against_reference(100, (uint64_t{5} << 32) + 1);
  });
}

// The bits belong to the element, not to the call: a parameter cut into two calls is updated alike.
TEST(AdamWBf16, DoesNotDependOnHowTheElementsAreCut) {
  constexpr size_t n = 1000, cut = 333;
  State whole(n), parts(n);
  const auto g = random_values<float>(n, 2);
  AdamWSettings settings{.seed = 3, .first = 77};
  adamw_update(whole.p.data(), whole.m.data(), whole.v.data(), g.data(), whole.copy.data(), n, settings);
  const auto part = [&](size_t begin, size_t end) {
    settings.first = 77 + begin;
    adamw_update(parts.p.data() + begin, parts.m.data() + begin, parts.v.data() + begin, g.data() + begin,
                 parts.copy.data() + begin, end - begin, settings);
  };
  part(cut, n);
  part(0, cut);
  EXPECT_TRUE(whole == parts);
  settings.first = 77;
  settings.seed = 4;
  State other(n);
  adamw_update(other.p.data(), other.m.data(), other.v.data(), g.data(), other.copy.data(), n, settings);
  EXPECT_FALSE(same_bits(other.v, whole.v)) << "another seed, other roundings";
}

TEST(AdamWBf16, SameBitsForAnyNumberOfThreads) {
  const size_t n = 100001;
  const auto g = random_values<float>(n, 1);
  expect_same_bits_for_any_threads([&] {
    State s(n);
    adamw_update<float, bf16>(s.p.data(), s.m.data(), s.v.data(), g.data(), nullptr, n, {});
    return s.v;
  });
}

TEST(AdamWBf16, FollowsFp32MomentsWithinOneRounding) {
  constexpr size_t n = 513;
  State s(n);
  auto p = s.p;
  std::vector<float> m(n), v(n);
  const auto g = random_values<float>(n, 2);
  adamw_update(s.p.data(), s.m.data(), s.v.data(), g.data(), s.copy.data(), n, {});
  adamw_update<float, float>(p.data(), m.data(), v.data(), g.data(), nullptr, n, {});
  EXPECT_TRUE(same_bits(s.p, p)) << "the update uses the moments before they are rounded";
  expect_close(s.m, m, kBf16Step, 0, "m");
  expect_close(s.v, v, kBf16Step, 0, "v");
}

// No gradient for 1000 steps: v decays to 0.999^1000 = 0.368 of itself. Rounded to nearest it would stand
// still, since a step takes off a thousandth and half of bf16's step is at least 1/512. Rounded
// stochastically its mean follows. Each rounding's variance is at most (v/128)^2 / 4, so that after k steps
// the relative deviation of one element is below sqrt(1000) / 256 = 0.12, and of the mean of 4096 below
// 0.002; 0.012 is six times that.
TEST(AdamWBf16, SecondMomentFollowsFp32WhereNearestRoundingIsStuck) {
  for_each_isa([] {
    constexpr size_t n = 4096;
    std::vector<float> p(n), g(n);
    std::vector<bf16> m(n), v(n);
    for (size_t i = 0; i < n; ++i) v[i] = bf16(1.0f + static_cast<float>(i) / n);  // all of a binade
    double start = 0;
    for (const bf16 x : v) start += static_cast<double>(x);
    std::vector<bf16> nearest = v;
    AdamWSettings settings{.lr = 0, .beta2 = 0.999, .seed = 5};
    for (settings.step = 1; settings.step <= 1000; ++settings.step) {
      adamw_update(p.data(), m.data(), v.data(), g.data(), nullptr, n, settings);
      for (bf16& x : nearest) x = bf16(0.999f * value_of(x));
    }
    double mean = 0, stuck = 0;
    for (size_t i = 0; i < n; ++i) {
      mean += static_cast<double>(v[i]);
      stuck += static_cast<double>(nearest[i]);
    }
    const double expected = std::pow(static_cast<double>(0.999f), 1000);
    EXPECT_NEAR(mean / start, expected, 0.012 * expected);
    EXPECT_GT(stuck / start, 0.99) << "nearest rounding was expected to stand still";
  });
}

TEST(AdamWBf16, NanGradientMakesParameterAndMomentsNan) {
  for_each_isa([] {
    State s(20);
    std::vector<float> g(20, 1.0f);
    g[3] = std::numeric_limits<float>::quiet_NaN();
    adamw_update(s.p.data(), s.m.data(), s.v.data(), g.data(), s.copy.data(), 20, {});
    for (size_t i = 0; i < 20; ++i) {
      EXPECT_EQ(std::isnan(s.p[i]), i == 3);
      EXPECT_EQ(std::isnan(value_of(s.m[i])), i == 3);
      EXPECT_EQ(std::isnan(value_of(s.v[i])), i == 3);
    }
  });
}

}  // namespace
}  // namespace fathom
