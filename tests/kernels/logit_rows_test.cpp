#include "kernels/logit_rows.h"

#include <algorithm>
#include <cmath>

#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

std::vector<size_t> vocabulary_sizes() {
  std::vector<size_t> sizes = odd_sizes();
  sizes.push_back(5003);
  return sizes;
}

TEST(LogitRows, MatchReference) {
  for_each_isa([] {
    for (const size_t V : vocabulary_sizes()) {
      for (const double spread : {0.01, 3.0, 40.0}) {
        const auto z = random_values<float>(V, 1, spread), f = random_values<float>(V, 2, spread);
        const double f_lse = log_sum_exp_ref(f.data(), V);
        EXPECT_NEAR(log_sum_exp(z.data(), V), log_sum_exp_ref(z.data(), V), 2e-6) << V;
        const RowDivergence got = row_divergence(z.data(), f.data(), f_lse, V);
        const RowDivergence expected = row_divergence_ref(z.data(), f.data(), f_lse, V);
        EXPECT_NEAR(got.lse, expected.lse, 2e-6) << V;
        // The mean of z - f under softmax(z), in fp32 products: relative to its own size.
        EXPECT_NEAR(got.kl, expected.kl, 2e-6 * (1 + spread * 10)) << V << " " << spread;
      }
    }
  });
}

TEST(LogitRows, OfEqualRowsDivergeByExactlyNothing) {
  for_each_isa([] {
    const auto z = random_values<float>(513, 1, 5.0);
    EXPECT_EQ(row_divergence(z.data(), z.data(), log_sum_exp(z.data(), 513), 513).kl, 0.0);
  });
}

TEST(LogitRows, ANanStaysOne) {
  for_each_isa([] {
    auto z = random_values<float>(100, 1);
    z[57] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(std::isnan(log_sum_exp(z.data(), 100)));
    EXPECT_TRUE(std::isnan(row_divergence(z.data(), z.data(), 0.0, 100).kl));
  });
}

TEST(LogitRows, TopPlacesAreTheHighestWithTheLowerFirstOnATie) {
  for_each_isa([] {
    for (const size_t V : vocabulary_sizes()) {
      for (uint64_t seed = 0; seed < 20; ++seed) {
        auto z = random_values<float>(V, seed);
        // Few different values: many ties.
        if (seed % 2 == 1)
          std::transform(z.begin(), z.end(), z.begin(), [](float x) { return std::round(2 * x); });
        size_t got[5], expected[5];
        const size_t n = top_places(got, 5, z.data(), V);
        ASSERT_EQ(n, top_places_ref(expected, 5, z.data(), V));
        ASSERT_EQ(n, std::min<size_t>(5, V));
        EXPECT_TRUE(std::equal(got, got + n, expected)) << V << " " << seed;
        for (size_t i = 1; i < n; ++i) {
          EXPECT_TRUE(z[got[i - 1]] > z[got[i]] || (z[got[i - 1]] == z[got[i]] && got[i - 1] < got[i]));
        }
      }
    }
  });
}

TEST(LogitRows, TopPlacesCanBeNone) {
  for_each_isa([] {
    const auto z = random_values<float>(200, 1);
    size_t top = 99;
    EXPECT_EQ(top_places(&top, 0, z.data(), z.size()), 0u);
    EXPECT_EQ(top_places_ref(&top, 0, z.data(), z.size()), 0u);
    EXPECT_EQ(top, 99u);
  });
}

}  // namespace
}  // namespace fathom
