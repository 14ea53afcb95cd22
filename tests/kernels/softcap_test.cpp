#include "kernels/softcap.h"

#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

TEST(Softcap, MatchesReference) {
  for_each_isa([] {
    for (const size_t n : odd_sizes()) {
      for (const double spread : {0.01, 1.0, 30.0, 1000.0}) {
        const auto x = random_values<float>(n, 1, spread), dy = random_values<float>(n, 2);
        std::vector<float> y = x, y_ref = x, dx = dy, dx_ref = dy;
        softcap_forward_ref(y_ref.data(), 30.0f, n);
        softcap_forward(y.data(), 30.0f, n);
        expect_close(y, y_ref, 5e-7, 0, "y");  // simd-inl.h states tanh's error
        softcap_backward_ref(dx_ref.data(), y_ref.data(), 30.0f, n);
        softcap_backward(dx.data(), y_ref.data(), 30.0f, n);
        expect_close(dx, dx_ref, 0, 8 * 5 * kFloatUnit, "dx");  // |dy| < 5; 1 - t^2 cancels near the cap
      }
    }
  });
}

TEST(Softcap, LimitsAndNan) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for_each_isa([&] {
    std::vector<float> x{inf, -inf, 1e30f, nan, 0.0f};
    softcap_forward(x.data(), 50.0f, x.size());
    EXPECT_EQ(x[0], 50.0f);
    EXPECT_EQ(x[1], -50.0f);
    EXPECT_EQ(x[2], 50.0f);
    EXPECT_TRUE(std::isnan(x[3]));
    EXPECT_EQ(x[4], 0.0f);
    for (const float odd : odd_nans()) {
      float y = odd;
      softcap_forward(&y, 50.0f, 1);
      EXPECT_TRUE(std::isnan(y)) << std::hex << std::bit_cast<uint32_t>(odd);
    }
  });
}

TEST(Softcap, BackwardMatchesFiniteDifferences) {
  auto x = random_values<double>(11, 1, 4.0);
  const auto dy = random_values<double>(11, 2);
  std::vector<double> y = x, dx = dy;
  softcap_forward(y.data(), 5.0, y.size());
  softcap_backward(dx.data(), y.data(), 5.0, y.size());
  const auto loss = [&] {
    std::vector<double> capped = x;
    softcap_forward(capped.data(), 5.0, capped.size());
    return weighted_sum(capped, dy);
  };
  expect_finite_differences(x, dx, loss, "dx");
}

}  // namespace
}  // namespace fathom
