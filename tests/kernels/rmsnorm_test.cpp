#include "kernels/rmsnorm.h"

#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

// The relative error of an fp32 sum of C products in at least 8 lanes is below (C / 8 + 8) u, and the result
// passes through some 8 more roundings.
double sum_tolerance(size_t C) { return (static_cast<double>(C) / 8 + 16) * kFloatUnit; }

template <class Y>
void check_forward(size_t rows, size_t C) {
  const auto x = random_values<float>(rows * C, 1, 3.0), weight = random_values<float>(C, 2);
  std::vector<Y> y(rows * C), y_ref(rows * C);
  std::vector<float> rstd(rows), rstd_ref(rows);
  rmsnorm_forward_ref(y_ref.data(), rstd_ref.data(), x.data(), weight.data(), 0.5f, 1e-6f, rows, C);
  rmsnorm_forward(y.data(), rstd.data(), x.data(), weight.data(), 0.5f, 1e-6f, rows, C);
  expect_close(rstd, rstd_ref, sum_tolerance(C), 0, "rstd");
  expect_close(y, y_ref, sum_tolerance(C) + storage_step<Y>(), 0, "y");
}

TEST(RmsNorm, ForwardMatchesReference) {
  for_each_isa([] {
    for (size_t C : odd_sizes()) {
      for (size_t rows : {1u, 2u, 7u, 70u}) {
        check_forward<float>(rows, C);
        check_forward<bf16>(rows, C);
      }
    }
  });
}

void check_backward(size_t rows, size_t C, bool accumulate, bool with_dweight) {
  const auto x = random_values<float>(rows * C, 1, 3.0), weight = random_values<float>(C, 2),
             dy = random_values<float>(rows * C, 3), start = random_values<float>(rows * C, 4),
             dweight_start = random_values<float>(C, 5);
  std::vector<float> rstd(rows), y(rows * C), dx = start, dx_ref = start, dweight = dweight_start,
                                              dweight_ref = dweight_start;
  const float scale = 0.7f;
  rmsnorm_forward_ref(y.data(), rstd.data(), x.data(), weight.data(), scale, 1e-6f, rows, C);
  rmsnorm_backward_ref(dx_ref.data(), accumulate, with_dweight ? dweight_ref.data() : nullptr, dy.data(),
                       x.data(), weight.data(), rstd.data(), scale, rows, C);
  rmsnorm_backward(dx.data(), accumulate, with_dweight ? dweight.data() : nullptr, dy.data(), x.data(),
                   weight.data(), rstd.data(), scale, rows, C);
  // Terms of either sign cancel, so the bound is in terms of their size: dx's are below scale rstd |w dy| and
  // the mean's share, 20 here; dweight's sum has `rows` terms of some 10.
  expect_close(dx, dx_ref, 0, 20 * sum_tolerance(C), "dx");
  expect_close(dweight, dweight_ref, 0, 10 * static_cast<double>(rows + 4) * kFloatUnit, "dweight");
}

TEST(RmsNorm, BackwardMatchesReference) {
  for_each_isa([] {
    for (size_t C : odd_sizes()) {
      for (size_t rows : {1u, 7u, 64u, 70u}) {
        for (bool accumulate : {false, true}) {
          for (bool with_dweight : {false, true}) check_backward(rows, C, accumulate, with_dweight);
        }
      }
    }
  });
}

TEST(RmsNorm, BackwardMayWorkInPlace) {
  for_each_isa([] {
    const size_t rows = 5, C = 37;
    const auto x = random_values<float>(rows * C, 1), weight = random_values<float>(C, 2),
               dy = random_values<float>(rows * C, 3), rstd = std::vector<float>(rows, 1.1f);
    std::vector<float> dx(rows * C), in_place = dy;
    rmsnorm_backward<float>(dx.data(), false, nullptr, dy.data(), x.data(), weight.data(), rstd.data(), 1.0f,
                            rows, C);
    rmsnorm_backward<float>(in_place.data(), false, nullptr, in_place.data(), x.data(), weight.data(),
                            rstd.data(), 1.0f, rows, C);
    EXPECT_TRUE(same_bits(dx, in_place));
  });
}

TEST(RmsNorm, BackwardMatchesFiniteDifferences) {
  const size_t rows = 3, C = 10;
  auto x = random_values<double>(rows * C, 1), weight = random_values<double>(C, 2);
  const auto dy = random_values<double>(rows * C, 3);
  std::vector<double> y(rows * C), rstd(rows), dx(rows * C), dweight(C);
  const auto loss = [&] {
    rmsnorm_forward(y.data(), rstd.data(), x.data(), weight.data(), 0.6, 1e-3, rows, C);
    return weighted_sum(y, dy);
  };
  loss();
  rmsnorm_backward(dx.data(), false, dweight.data(), dy.data(), x.data(), weight.data(), rstd.data(), 0.6,
                   rows, C);
  expect_finite_differences(x, dx, loss, "dx");
  expect_finite_differences(weight, dweight, loss, "dweight");
}

TEST(RmsNorm, SameBitsForAnyNumberOfThreads) {
  const size_t rows = 333, C = 65;
  const auto x = random_values<float>(rows * C, 1), weight = random_values<float>(C, 2),
             dy = random_values<float>(rows * C, 3);
  expect_same_bits_for_any_threads([&] {
    std::vector<float> y(rows * C), rstd(rows), gradients(rows * C + C);
    rmsnorm_forward(y.data(), rstd.data(), x.data(), weight.data(), 1.0f, 1e-6f, rows, C);
    rmsnorm_backward(gradients.data(), false, gradients.data() + rows * C, dy.data(), x.data(), weight.data(),
                     rstd.data(), 1.0f, rows, C);
    gradients.insert(gradients.end(), y.begin(), y.end());
    return gradients;
  });
}

TEST(RmsNorm, NanMakesItsRowNan) {
  for_each_isa([] {
    const size_t rows = 2, C = 33;
    auto x = random_values<float>(rows * C, 1);
    x[5] = std::numeric_limits<float>::quiet_NaN();
    const auto weight = random_values<float>(C, 2);
    std::vector<bf16> y(rows * C);
    std::vector<float> rstd(rows);
    rmsnorm_forward(y.data(), rstd.data(), x.data(), weight.data(), 1.0f, 1e-6f, rows, C);
    for (size_t i = 0; i < C; ++i) {
      EXPECT_TRUE(std::isnan(static_cast<float>(y[i])));
      EXPECT_FALSE(std::isnan(static_cast<float>(y[C + i])));
    }
  });
}

}  // namespace
}  // namespace fathom
