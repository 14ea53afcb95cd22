#include "kernels/head_norm.h"

#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

// A sum of `width` squares in fp32 is off by width / 8 + 8 units at most, and some 8 roundings follow.
double tolerance(size_t width) { return (static_cast<double>(width) / 8 + 16) * kFloatUnit; }

template <class W>
void check(const HeadNormShape& s) {
  SCOPED_TRACE(::testing::Message() << s.rows << " rows, " << s.groups << " x " << s.width);
  const size_t n = s.rows * s.stride, dense = s.rows * s.groups * s.width;
  const auto x = random_values<W>(n, 1, 3.0), dy = random_values<W>(n, 2);
  const auto weight = random_values<float>(s.width, 3);
  std::vector<W> y = x, y_ref = x, raw(dense), raw_ref(dense), dx = dy, dx_ref = dy;
  std::vector<float> rstd(s.rows * s.groups), rstd_ref(s.rows * s.groups), dweight(s.width, 1.0f),
      dweight_ref(s.width, 1.0f);
  head_norm_forward_ref(y_ref.data(), raw_ref.data(), rstd_ref.data(), weight.data(), 1e-6f, s);
  head_norm_forward(y.data(), raw.data(), rstd.data(), weight.data(), 1e-6f, s);
  EXPECT_TRUE(same_bits(raw, raw_ref));
  expect_close(rstd, rstd_ref, tolerance(s.width), 0, "rstd");
  expect_close(y, y_ref, tolerance(s.width) + storage_step<W>(), 0, "y");
  head_norm_backward_ref(dx_ref.data(), dweight_ref.data(), raw_ref.data(), rstd_ref.data(), weight.data(),
                         s);
  head_norm_backward(dx.data(), dweight.data(), raw_ref.data(), rstd_ref.data(), weight.data(), s);
  // Terms cancel: bounds in terms of their size, below 20 for dx; dweight's sum has rows * groups terms.
  expect_close(dx, dx_ref, storage_step<W>(), 20 * tolerance(s.width), "dx");
  expect_close(dweight, dweight_ref, 0, 10 * static_cast<double>(s.rows * s.groups + 4) * kFloatUnit,
               "dweight");
}

TEST(HeadNorm, MatchesReference) {
  for_each_isa([] {
    for (const size_t rows : {1u, 3u, 64u, 67u}) {
      for (const size_t width : {8u, 16u, 24u, 72u, 128u}) {
        for (const size_t groups : {1u, 3u}) {
          check<float>({rows, groups * width + 5, groups, width});
          check<bf16>({rows, groups * width + 5, groups, width});
        }
      }
    }
  });
}

TEST(HeadNorm, LeavesWhatLiesBetweenTheRowsAlone) {
  for_each_isa([] {
    std::vector<float> x(3 * 20, 7.0f), weight(8, 1.0f);
    head_norm_forward<float>(x.data(), nullptr, nullptr, weight.data(), 1e-6f, {3, 20, 2, 8});
    for (size_t r = 0; r < 3; ++r) {
      for (size_t i = 0; i < 20; ++i) EXPECT_NEAR(x[r * 20 + i], i < 16 ? 1.0f : 7.0f, 1e-6f);
    }
  });
}

TEST(HeadNorm, BackwardMatchesFiniteDifferences) {
  const HeadNormShape s{4, 19, 2, 8};
  auto x = random_values<double>(s.rows * s.stride, 1), weight = random_values<double>(s.width, 2);
  auto dy = random_values<double>(s.rows * s.stride, 3);
  for (size_t i = 0; i < dy.size(); ++i) {
    if (i % s.stride >= s.groups * s.width) dy[i] = 0;
  }
  std::vector<double> y = x, raw(s.rows * 16), rstd(s.rows * 2), dx = dy, dweight(s.width);
  head_norm_forward(y.data(), raw.data(), rstd.data(), weight.data(), 1e-6, s);
  head_norm_backward(dx.data(), dweight.data(), raw.data(), rstd.data(), weight.data(), s);
  const auto loss = [&] {
    std::vector<double> normed = x;
    head_norm_forward<double>(normed.data(), nullptr, nullptr, weight.data(), 1e-6, s);
    return weighted_sum(normed, dy);
  };
  expect_finite_differences(x, dx, loss, "dx");
  expect_finite_differences(weight, dweight, loss, "dweight");
}

TEST(HeadNorm, SameBitsForAnyNumberOfThreads) {
  const HeadNormShape s{301, 40, 2, 16};
  const auto x = random_values<bf16>(s.rows * s.stride, 1), dy = random_values<bf16>(s.rows * s.stride, 2);
  const auto weight = random_values<float>(s.width, 3);
  expect_same_bits_for_any_threads([&] {
    std::vector<bf16> y = x, raw(s.rows * 32), dx = dy;
    std::vector<float> rstd(s.rows * 2), result(s.width);
    head_norm_forward(y.data(), raw.data(), rstd.data(), weight.data(), 1e-6f, s);
    head_norm_backward(dx.data(), result.data(), raw.data(), rstd.data(), weight.data(), s);
    for (const bf16 v : y) result.push_back(static_cast<float>(v));
    for (const bf16 v : dx) result.push_back(static_cast<float>(v));
    return result;
  });
}

}  // namespace
}  // namespace fathom
