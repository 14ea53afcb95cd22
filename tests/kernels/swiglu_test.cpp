#include "kernels/swiglu.h"

#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

// exp is good to 2 u, its argument exact; the sum, the quotient and three products add 5 more; the reference
// in fp32 has as many.
constexpr double kTolerance = 16 * kFloatUnit;

template <class W>
void check(size_t rows, size_t F, GateActivation f) {
  const auto gate_up = random_values<W>(rows * 2 * F, 1, 4.0), dact = random_values<W>(rows * F, 2);
  std::vector<W> act(rows * F), act_ref(rows * F), dgate_up(rows * 2 * F), dgate_up_ref(rows * 2 * F);
  swiglu_forward_ref(act_ref.data(), gate_up.data(), rows, F, f);
  swiglu_forward(act.data(), gate_up.data(), rows, F, f);
  // GeGLU's argument of exp is rounded: where it is large, the result is small, and its relative error grows.
  const double exp_tolerance = f == GateActivation::kSilu ? kTolerance : 64 * kFloatUnit;
  expect_close(act, act_ref, exp_tolerance + storage_step<W>(), 1e-9, "act");
  swiglu_backward_ref(dgate_up_ref.data(), dact.data(), gate_up.data(), rows, F, f);
  swiglu_backward(dgate_up.data(), dact.data(), gate_up.data(), rows, F, f);
  // 1 + g (1 - s) cancels near its zero at g = -1.28: absolute there, |da u| being up to some 40. In bf16, s
  // may come from a reciprocal that is good to 2^-14 (the rounding of g itself is worth 2^-9).
  const double slope_error = std::is_same_v<W, bf16> ? 0x1p-14 : kTolerance;
  expect_close(dgate_up, dgate_up_ref, kTolerance + storage_step<W>(), 40 * slope_error, "dgate_up");
  std::vector<W> in_place = gate_up;
  swiglu_backward(in_place.data(), dact.data(), in_place.data(), rows, F, f);
  EXPECT_TRUE(same_bits(in_place, dgate_up));
}

TEST(SwiGlu, MatchesReference) {
  for_each_isa([] {
    for (size_t F : odd_sizes()) {
      for (size_t rows : {1u, 3u, 17u, 70u}) {
        for (const GateActivation f : {GateActivation::kSilu, GateActivation::kGeluTanh}) {
          check<float>(rows, F, f);
          check<bf16>(rows, F, f);
        }
      }
    }
  });
}

TEST(SwiGlu, ExtremeGatesGiveTheLimits) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> gate{-200.0f, -104.5f, -89.0f, -88.0f, -0.0f, 0.0f, 88.0f, 200.0f, inf, nan};
  const size_t F = gate.size();
  for_each_isa([&] {
    std::vector<float> gate_up(gate), act(F);
    gate_up.resize(2 * F, 1.0f);
    swiglu_forward(act.data(), gate_up.data(), 1, F);
    for (size_t i = 0; i + 1 < F; ++i) {
      const double g = gate[i], silu = g / (1.0 + std::exp(-g));
      if (std::isinf(g)) {
        EXPECT_EQ(act[i], inf);
      } else {
        EXPECT_NEAR(act[i], silu, kTolerance * std::abs(silu) + 1e-36) << "gate " << g;
      }
    }
    EXPECT_TRUE(std::isnan(act[F - 1]));
  });
}

// What is not finite, or becomes so on the way, forward and backward, as in the reference.
TEST(SwiGlu, ExtremeGatesAreTheReferences) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> gate{-inf, -1e38f, -1e30f, -1e10f, -95.0f, 95.0f, 1e10f, 1e38f, inf};
  for (const float nan : odd_nans()) gate.push_back(nan);
  const size_t F = gate.size();
  for (const GateActivation f : {GateActivation::kSilu, GateActivation::kGeluTanh}) {
    for_each_isa([&] {
      std::vector<float> gate_up(gate), act(F), act_ref(F), dgate_up(2 * F), dgate_up_ref(2 * F);
      gate_up.resize(2 * F, 1.0f);
      const std::vector<float> dact(F, 1.0f);
      swiglu_forward_ref(act_ref.data(), gate_up.data(), 1, F, f);
      swiglu_forward(act.data(), gate_up.data(), 1, F, f);
      expect_close(act, act_ref, kTolerance, 1e-36, "act", Nan::kEqualsNan);
      swiglu_backward_ref(dgate_up_ref.data(), dact.data(), gate_up.data(), 1, F, f);
      swiglu_backward(dgate_up.data(), dact.data(), gate_up.data(), 1, F, f);
      expect_close(dgate_up, dgate_up_ref, kTolerance, 1e-36, "dgate_up", Nan::kEqualsNan);
      EXPECT_EQ(act[1], 0.0f);
      EXPECT_TRUE(std::signbit(act[1]));
      for (size_t i : {size_t{0}, F - 3, F - 2, F - 1}) EXPECT_TRUE(std::isnan(act[i])) << gate[i];
    });
  }
}

// Code of its own where the processor has bf16: whole rows of 32 and parts of them.
TEST(SwiGlu, ExtremeGatesInBf16AreTheReferences) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<bf16> gate_up;
  for (const float g : {-inf, -1e38f, -1e30f, -200.0f, -95.0f, -89.0f, -80.0f, -0.0f, 0.0f, 80.0f, 89.0f,
                        1e10f, 1e38f, inf, std::numeric_limits<float>::quiet_NaN()})
    gate_up.push_back(bf16(g));
  while (gate_up.size() < 35) gate_up.push_back(gate_up[gate_up.size() - 15]);
  const size_t F = gate_up.size();
  gate_up.resize(2 * F, bf16(1.0f));
  const std::vector<bf16> dact(F, bf16(1.0f));
  for (const GateActivation f : {GateActivation::kSilu, GateActivation::kGeluTanh}) {
    for_each_isa([&] {
      std::vector<bf16> act(F), act_ref(F), dgate_up(2 * F), dgate_up_ref(2 * F);
      swiglu_forward_ref(act_ref.data(), gate_up.data(), 1, F, f);
      swiglu_forward(act.data(), gate_up.data(), 1, F, f);
      expect_close(act, act_ref, kBf16Step, 1e-33, "act", Nan::kEqualsNan);
      swiglu_backward_ref(dgate_up_ref.data(), dact.data(), gate_up.data(), 1, F, f);
      swiglu_backward(dgate_up.data(), dact.data(), gate_up.data(), 1, F, f);
      expect_close(dgate_up, dgate_up_ref, kBf16Step, 1e-33, "dgate_up", Nan::kEqualsNan);
    });
  }
}

TEST(SwiGlu, GeluIsTheFormulaOfItsPaper) {
  for (const double g : {-4.0, -0.7, 0.0, 0.3, 2.5}) {
    const std::vector<double> gate_up{g, 2.0};
    double act = 0;
    swiglu_forward(&act, gate_up.data(), 1, 1, GateActivation::kGeluTanh);
    const double u = std::sqrt(2.0 / M_PI) * (g + 0.044715 * g * g * g);
    EXPECT_NEAR(act, 2.0 * 0.5 * g * (1.0 + std::tanh(u)), 1e-15);
  }
}

class SwiGluGate : public ::testing::TestWithParam<GateActivation> {};

TEST_P(SwiGluGate, BackwardMatchesFiniteDifferences) {
  const size_t rows = 3, F = 7;
  auto gate_up = random_values<double>(rows * 2 * F, 1);
  const auto dact = random_values<double>(rows * F, 2);
  std::vector<double> act(rows * F), dgate_up(rows * 2 * F);
  swiglu_backward(dgate_up.data(), dact.data(), gate_up.data(), rows, F, GetParam());
  const auto loss = [&] {
    swiglu_forward(act.data(), gate_up.data(), rows, F, GetParam());
    return weighted_sum(act, dact);
  };
  expect_finite_differences(gate_up, dgate_up, loss, "dgate_up");
}

INSTANTIATE_TEST_SUITE_P(Gates, SwiGluGate,
                         ::testing::Values(GateActivation::kSilu, GateActivation::kGeluTanh));

TEST(SwiGlu, SameBitsForAnyNumberOfThreads) {
  const size_t rows = 101, F = 67;
  const auto gate_up = random_values<bf16>(rows * 2 * F, 1), dact = random_values<bf16>(rows * F, 2);
  expect_same_bits_for_any_threads([&] {
    std::vector<bf16> result(rows * 3 * F);
    swiglu_forward(result.data(), gate_up.data(), rows, F);
    swiglu_backward(result.data() + rows * F, dact.data(), gate_up.data(), rows, F);
    return result;
  });
}

}  // namespace
}  // namespace fathom
