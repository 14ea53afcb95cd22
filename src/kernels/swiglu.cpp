#include "kernels/swiglu.h"

#include <hwy/cache_control.h>

#include <type_traits>

#include "core/profile.h"
#include "core/threads.h"
#include "kernels/bf16_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/swiglu.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

// f(g) = g sigmoid(z(g)).
template <GateActivation>
struct Gate;
template <>
struct Gate<GateActivation::kSilu> {
  static HWY_INLINE V32 z(V32 g) { return g; }
  static HWY_INLINE V32 slope(V32) { return hn::Set(F32(), 1.0f); }
};
template <>
struct Gate<GateActivation::kGeluTanh> {
  static constexpr float kTwoRoot = 1.5957691f, kCubic = 0.044715f;  // 2 sqrt(2 / pi)
  static HWY_INLINE V32 z(V32 g) {
    const F32 d;
    const V32 inner = hn::MulAdd(hn::Mul(g, g), hn::Set(d, kTwoRoot * kCubic), hn::Set(d, kTwoRoot));
    return hn::Mul(g, inner);
  }
  static HWY_INLINE V32 slope(V32 g) {
    const F32 d;
    return hn::MulAdd(hn::Mul(g, g), hn::Set(d, 3 * kTwoRoot * kCubic), hn::Set(d, kTwoRoot));
  }
};

// 1 + exp(-z), infinite past exp's bound: a gate below is then -0, and of -infinity NaN, as in the reference.
HWY_INLINE V32 one_plus_exp_of_minus(V32 z) {
  const F32 d;
  const V32 x = hn::Neg(z), sum = hn::Add(hn::Set(d, 1.0f), exp_bounded(x));
  return hn::IfThenElse(hn::Gt(x, hn::Set(d, kExpBound)), hn::Inf(d), sum);
}

template <GateActivation f, class W>
void swiglu_forward_rows(W* act, size_t act_ld, const W* gate, const W* up, const SwigluBlock& block) {
  const size_t n = block.columns;
  const std::ptrdiff_t ahead = block.ahead;
  for (size_t r = 0; r < block.rows; ++r, act += act_ld, gate += block.ld, up += block.ld) {
    for (size_t i = 0; i < n; i += kLanes) {
      hwy::Prefetch(gate + i + ahead);
      hwy::Prefetch(up + i + ahead);
      const V32 g = load_n(gate + i, n - i), u = load_n(up + i, n - i);
      const V32 silu = hn::Div(g, one_plus_exp_of_minus(Gate<f>::z(g)));
      store_n(hn::Mul(silu, u), act + i, n - i);
    }
  }
}

// Whole rows: those of dact are as long as the block's.
template <GateActivation f, class W>
void swiglu_backward_rows(W* dgate_up, const W* dact, const W* gate_up, const SwigluBlock& block) {
  const F32 d;
  const V32 one = hn::Set(d, 1.0f);
  const size_t F = block.columns, ld = block.ld;
  const std::ptrdiff_t ahead = block.ahead;
  for (size_t r = 0; r < block.rows; ++r, dact += F, dgate_up += ld, gate_up += ld) {
    for (size_t i = 0; i < F; i += kLanes) {
      hwy::Prefetch(gate_up + i + ahead);
      hwy::Prefetch(gate_up + F + i + ahead);
      const V32 g = load_n(gate_up + i, F - i), u = load_n(gate_up + F + i, F - i);
      const V32 da = load_n(dact + i, F - i);
      const V32 sigmoid = hn::Div(one, one_plus_exp_of_minus(Gate<f>::z(g)));
      // f' = s (1 + g (1 - s) z')
      const V32 g_slope = hn::Mul(g, Gate<f>::slope(g));
      const V32 slope = hn::Mul(sigmoid, hn::MulAdd(g_slope, hn::Sub(one, sigmoid), one));
      store_n(hn::Mul(hn::Mul(da, u), slope), dgate_up + i, F - i);
      store_n(hn::Mul(hn::Mul(da, g), sigmoid), dgate_up + F + i, F - i);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS

#if HWY_ONCE
namespace fathom {
namespace {
constexpr size_t kRowGrain = 16;  // rows a chunk: some 20 us at F = 2048

// Rows of gate_up, whole. Each row is two runs of F numbers, too short for the processor to foresee the next
// by itself; without asking for the rows to come, a quarter to a third of the speed.
template <class W>
SwigluBlock whole_rows(size_t rows, size_t F) {
  const size_t rows_ahead = 4096 / (2 * F * sizeof(W)) + 1;  // at least 4 KiB: a memory latency's worth
  return {rows, F, 2 * F, static_cast<std::ptrdiff_t>(rows_ahead * 2 * F)};
}

}  // namespace

template <class W>
void swiglu_forward_block(W* act, size_t act_ld, const W* gate, const W* up, const SwigluBlock& block,
                          GateActivation f) {
  if (!use_simd<W>()) return swiglu_forward_block_ref(act, act_ld, gate, up, block, f);
  if constexpr (std::is_same_v<W, bf16>) {
    if (active_isa() >= Isa::kAvx512Bf16) return swiglu_forward_bf16(act, act_ld, gate, up, block, f);
  }
  if constexpr (!std::is_same_v<W, double>) {
    const auto silu = FATHOM_SIMD(swiglu_forward_rows<GateActivation::kSilu, W>);
    const auto gelu = FATHOM_SIMD(swiglu_forward_rows<GateActivation::kGeluTanh, W>);
    (f == GateActivation::kSilu ? silu : gelu)(act, act_ld, gate, up, block);
  }
}

template <class W>
void swiglu_forward(W* act, const W* gate_up, size_t rows, size_t F, GateActivation f) {
  const ProfileScope scope("swiglu forward", 0, static_cast<double>(3 * rows * F * sizeof(W)));
  parallel_ranges(rows, kRowGrain, [&](size_t begin, size_t end) {
    const W* gate = gate_up + begin * 2 * F;
    swiglu_forward_block(act + begin * F, F, gate, gate + F, whole_rows<W>(end - begin, F), f);
  });
}

template <class W>
void swiglu_backward(W* dgate_up, const W* dact, const W* gate_up, size_t rows, size_t F, GateActivation f) {
  const ProfileScope scope("swiglu backward", 0, static_cast<double>(5 * rows * F * sizeof(W)));
  if (!use_simd<W>()) return swiglu_backward_ref(dgate_up, dact, gate_up, rows, F, f);
  if constexpr (!std::is_same_v<W, double>) {
    const auto silu = FATHOM_SIMD(swiglu_backward_rows<GateActivation::kSilu, W>);
    const auto gelu = FATHOM_SIMD(swiglu_backward_rows<GateActivation::kGeluTanh, W>);
    auto chunk = f == GateActivation::kSilu ? silu : gelu;
    if constexpr (std::is_same_v<W, bf16>) {
      if (active_isa() >= Isa::kAvx512Bf16) chunk = swiglu_backward_bf16(f);
    }
    parallel_ranges(rows, kRowGrain, [&](size_t begin, size_t end) {
      chunk(dgate_up + begin * 2 * F, dact + begin * F, gate_up + begin * 2 * F,
            whole_rows<W>(end - begin, F));
    });
  }
}

#define FATHOM_INSTANTIATE(W)                                                                             \
  template void swiglu_forward_block(W*, size_t, const W*, const W*, const SwigluBlock&, GateActivation); \
  template void swiglu_forward(W*, const W*, size_t, size_t, GateActivation);                             \
  template void swiglu_backward(W*, const W*, const W*, size_t, size_t, GateActivation);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
#endif  // HWY_ONCE
