#include "kernels/double_sums.h"

#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

TEST(DoubleSums, DotMatchesReferenceAndIsExactForEqualVectors) {
  for_each_isa([] {
    for (const size_t n : odd_sizes()) {
      const auto a = random_values<float>(n, 1), b = random_values<float>(n, 2);
      const auto same = a;
      EXPECT_NEAR(dot(a.data(), b.data(), n), dot_ref(a.data(), b.data(), n), 1e-12 * static_cast<double>(n));
      EXPECT_EQ(dot(a.data(), same.data(), n), dot(a.data(), a.data(), n));
      const auto wide = random_values<double>(n, 3), other = random_values<double>(n, 4);
      EXPECT_NEAR(dot(wide.data(), other.data(), n), dot_ref(wide.data(), other.data(), n),
                  1e-12 * static_cast<double>(n));
    }
  });
}

TEST(DoubleSums, ChangesMatchReferenceAndEqualOnesDifferByNothing) {
  for_each_isa([] {
    for (const size_t n : odd_sizes()) {
      const auto a = random_values<float>(n, 1), b = random_values<float>(n, 2),
                 c = random_values<float>(n, 3), d = random_values<float>(n, 4);
      const ChangeSums got = change_sums(a.data(), b.data(), c.data(), d.data(), n);
      const ChangeSums expected = change_sums_ref(a.data(), b.data(), c.data(), d.data(), n);
      EXPECT_NEAR(got.change, expected.change, 1e-13 * expected.change) << n;
      EXPECT_NEAR(got.difference, expected.difference, 1e-13 * expected.difference) << n;
      EXPECT_EQ(change_sums(a.data(), b.data(), a.data(), b.data(), n).difference, 0.0);
    }
  });
}

// Away from zero, so that a variance by sums of squares would lose its digits.
template <class S>
void check_variance_and_step(size_t n) {
  auto after = random_values<S>(n, 1), before = random_values<S>(n, 2);
  for (S& x : after) x += S(1000);
  const double expected = variance_ref(after.data(), n);
  EXPECT_NEAR(variance(after.data(), n), expected, 1e-13 * (expected + 1)) << n;
  const StepSums got = step_sums(after.data(), before.data(), n),
                 ref = step_sums_ref(after.data(), before.data(), n);
  EXPECT_NEAR(got.change, ref.change, 1e-13 * ref.change) << n;
  EXPECT_NEAR(got.before, ref.before, 1e-13 * ref.before) << n;
  EXPECT_NEAR(got.product, ref.product, 1e-13 * std::sqrt(ref.change * ref.before)) << n;
  EXPECT_NEAR(got.variance, ref.variance, 1e-12 * (ref.variance + 1)) << n;
  // A change that equals the stream: its cosine is exactly 1.
  std::vector<S> twice(n);
  for (size_t i = 0; i < n; ++i) twice[i] = S(2) * before[i];
  const StepSums equal = step_sums(twice.data(), before.data(), n);
  EXPECT_EQ(equal.change, equal.before) << n;
  EXPECT_EQ(equal.product, equal.before) << n;
}

TEST(DoubleSums, VariancesAndStepsMatchReference) {
  for_each_isa([] {
    for (const size_t n : odd_sizes()) {
      check_variance_and_step<float>(n);
      check_variance_and_step<double>(n);
    }
  });
}

TEST(DoubleSums, ProductsMatchReference) {
  for_each_isa([] {
    for (const size_t M : {1u, 5u, 6u, 13u, 49u}) {
      for (const size_t N : {1u, 7u, 8u, 16u, 33u}) {
        const size_t rows = 19, ld = N + 3;
        const auto a = random_values<double>(rows * M, 1), b = random_values<double>(rows * N, 2);
        auto got = random_values<double>(M * ld, 3), expected = got;
        add_products(got.data(), ld, a.data(), b.data(), rows, M, N);
        add_products_ref(expected.data(), ld, a.data(), b.data(), rows, M, N);
        expect_close(got, expected, 1e-13, 1e-13, "out");
      }
    }
  });
}

TEST(DoubleSums, ALowerHalfIsWhole) {
  for_each_isa([] {
    const size_t n = 37, rows = 11;
    const auto a = random_values<double>(rows * n, 1);
    std::vector<double> got(n * n), expected(n * n);
    add_products(got.data(), n, a.data(), a.data(), rows, n, n, true);
    add_products_ref(expected.data(), n, a.data(), a.data(), rows, n, n);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j <= i; ++j)
        ASSERT_NEAR(got[i * n + j], expected[i * n + j], 1e-12) << i << " " << j;
    }
  });
}

TEST(DoubleSums, SameBitsForAnyNumberOfThreads) {
  const size_t M = 61, N = 50, rows = 30;
  const auto a = random_values<double>(rows * M, 1), b = random_values<double>(rows * N, 2);
  expect_same_bits_for_any_threads([&] {
    std::vector<double> out(M * N);
    add_products(out.data(), N, a.data(), b.data(), rows, M, N);
    return out;
  });
}

}  // namespace
}  // namespace fathom
