#include "kernels/swiglu.h"

#include <type_traits>

#include "core/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/swiglu.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

template <class W>
void swiglu_forward_rows(W* act, const W* gate_up, size_t rows, size_t F) {
  const F32 d;
  const V32 one = hn::Set(d, 1.0f);
  for (size_t r = 0; r < rows; ++r, act += F, gate_up += 2 * F) {
    for (size_t i = 0; i < F; i += kLanes) {
      const V32 g = load_n(gate_up + i, F - i), u = load_n(gate_up + F + i, F - i);
      const V32 silu = hn::Div(g, hn::Add(one, exp(hn::Neg(g))));
      store_n(hn::Mul(silu, u), act + i, F - i);
    }
  }
}

template <class W>
void swiglu_backward_rows(W* dgate_up, const W* dact, const W* gate_up, size_t rows, size_t F) {
  const F32 d;
  const V32 one = hn::Set(d, 1.0f);
  for (size_t r = 0; r < rows; ++r, dact += F, dgate_up += 2 * F, gate_up += 2 * F) {
    for (size_t i = 0; i < F; i += kLanes) {
      const V32 g = load_n(gate_up + i, F - i), u = load_n(gate_up + F + i, F - i);
      const V32 da = load_n(dact + i, F - i);
      const V32 sigmoid = hn::Div(one, hn::Add(one, exp(hn::Neg(g))));
      // silu' = s (1 + g (1 - s))
      const V32 slope = hn::Mul(sigmoid, hn::MulAdd(g, hn::Sub(one, sigmoid), one));
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
}  // namespace

template <class W>
void swiglu_forward(W* act, const W* gate_up, size_t rows, size_t F) {
  if (!use_simd<W>()) return swiglu_forward_ref(act, gate_up, rows, F);
  if constexpr (!std::is_same_v<W, double>) {
    const auto chunk = FATHOM_SIMD(swiglu_forward_rows<W>);
    parallel_ranges(rows, kRowGrain, [&](size_t begin, size_t end) {
      chunk(act + begin * F, gate_up + begin * 2 * F, end - begin, F);
    });
  }
}

template <class W>
void swiglu_backward(W* dgate_up, const W* dact, const W* gate_up, size_t rows, size_t F) {
  if (!use_simd<W>()) return swiglu_backward_ref(dgate_up, dact, gate_up, rows, F);
  if constexpr (!std::is_same_v<W, double>) {
    const auto chunk = FATHOM_SIMD(swiglu_backward_rows<W>);
    parallel_ranges(rows, kRowGrain, [&](size_t begin, size_t end) {
      chunk(dgate_up + begin * 2 * F, dact + begin * F, gate_up + begin * 2 * F, end - begin, F);
    });
  }
}

#define FATHOM_INSTANTIATE(W)                                 \
  template void swiglu_forward(W*, const W*, size_t, size_t); \
  template void swiglu_backward(W*, const W*, const W*, size_t, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
#endif  // HWY_ONCE
