#include "kernels/adamw.h"

#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

TEST(AdamW, MatchesValuesWorkedOutByHand) {
  // Step 1 from zero moments: m^ = g and v^ = g^2, so that the update is lr (sign(g) + wd p) but for eps.
  // Step 2 with g = -1: m = 0.9 * 0.2 - 0.1 = 0.08, m^ = 0.08 / 0.19; v = 0.95 * 0.2 + 0.05 = 0.24, v^ = 0.24
  // / 0.0975.
  for_each_isa([] {
    std::vector<float> p{1.0f}, m{0.0f}, v{0.0f};
    AdamWSettings settings{.lr = 0.1, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.5};
    std::vector<float> g{4.0f};
    settings.grad_scale = 0.5;  // the gradient in force is 2
    bf16 copy;
    adamw_update(p.data(), m.data(), v.data(), g.data(), &copy, 1, settings);
    EXPECT_NEAR(m[0], 0.2, 1e-7);
    EXPECT_NEAR(v[0], 0.2, 1e-7);
    EXPECT_NEAR(p[0], 1.0 * (1 - 0.1 * 0.5) - 0.1, 1e-6);
    EXPECT_EQ(copy.bits, bf16(p[0]).bits);
    settings.step = 2;
    g[0] = -2.0f;
    adamw_update<float, float>(p.data(), m.data(), v.data(), g.data(), nullptr, 1, settings);
    EXPECT_NEAR(m[0], 0.08, 1e-7);
    EXPECT_NEAR(v[0], 0.24, 1e-7);
    EXPECT_NEAR(p[0], 0.85 * 0.95 - 0.1 * (0.08 / 0.19) / std::sqrt(0.24 / 0.0975), 1e-6);
    EXPECT_EQ(copy.bits, bf16(0.85f).bits);  // null: left alone
  });
}

void check_steps(size_t n) {
  std::vector<float> p = random_values<float>(n, 1), m(n), v(n), p_ref = p, m_ref(n), v_ref(n);
  std::vector<bf16> copy(n);
  AdamWSettings settings{.beta2 = 0.999, .weight_decay = 0.1, .grad_scale = 0.3};
  for (uint64_t step = 1; step <= 5; ++step) {
    settings.step = step;
    const auto g = random_values<float>(n, 10 + step);
    adamw_update(p.data(), m.data(), v.data(), g.data(), copy.data(), n, settings);
    adamw_update_ref<float, float>(p_ref.data(), m_ref.data(), v_ref.data(), g.data(), nullptr, n, settings);
  }
  // Per step some 4 roundings of m and v, whose terms may cancel in m (its terms are below 1), and one of p;
  // the update lr m^ / sqrt(v^) is below 2 lr and good to some 10 u.
  expect_close(v, v_ref, 5 * 4 * kFloatUnit, 0, "v");
  expect_close(m, m_ref, 0, 5 * 4 * kFloatUnit, "m");
  expect_close(p, p_ref, 5 * 2 * kFloatUnit, 5 * 2e-3 * 100 * kFloatUnit, "p");
  for (size_t i = 0; i < n; ++i) EXPECT_EQ(copy[i].bits, bf16(p[i]).bits);
}

TEST(AdamW, MatchesReferenceOverSteps) {
  for_each_isa([] {
    for (size_t n : odd_sizes()) check_steps(n);
    check_steps(40000);  // more than one chunk
  });
}

TEST(AdamW, NoGradientNoChangeAndMomentsDecayToZeroNotDenormals) {
  for_each_isa([] {
    if (!(active_isa() >= Isa::kAvx2)) return;  // the reference keeps denormals
    std::vector<float> p{0.5f, 0.5f}, m{0.0f, 0x1p-126f}, v{0.0f, 0x1p-126f}, g(2);
    adamw_update<float, float>(p.data(), m.data(), v.data(), g.data(), nullptr, 2, {});
    EXPECT_EQ(p[0], 0.5f);
    EXPECT_EQ(m[1], 0.0f);
    EXPECT_EQ(v[1], 0.0f);
  });
}

TEST(AdamW, SameBitsForAnyNumberOfThreads) {
  const size_t n = 100001;
  const auto g = random_values<float>(n, 1);
  expect_same_bits_for_any_threads([&] {
    auto p = random_values<float>(n, 2);
    std::vector<float> m(n), v(n);
    adamw_update<float, float>(p.data(), m.data(), v.data(), g.data(), nullptr, n, {});
    return p;
  });
}

TEST(AdamW, NanGradientMakesTheParameterNan) {
  for_each_isa([] {
    std::vector<float> p(20, 1.0f), m(20), v(20), g(20, 1.0f);
    g[3] = std::numeric_limits<float>::quiet_NaN();
    adamw_update<float, float>(p.data(), m.data(), v.data(), g.data(), nullptr, 20, {});
    for (size_t i = 0; i < p.size(); ++i) EXPECT_EQ(std::isnan(p[i]), i == 3);
  });
}

}  // namespace
}  // namespace fathom
