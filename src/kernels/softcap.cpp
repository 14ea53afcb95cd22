#include "kernels/softcap.h"

#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softcap.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

void softcap_forward_simd(float* x, float cap, size_t n) {
  const V32 vcap = hn::Set(F32(), cap), inverse = hn::Set(F32(), 1.0f / cap);
  for (size_t i = 0; i < n; i += kLanes)
    store_n(hn::Mul(vcap, tanh(hn::Mul(inverse, load_n(x + i, n - i)))), x + i, n - i);
}

void softcap_backward_simd(float* dy, const float* y, float cap, size_t n) {
  const V32 inverse = hn::Set(F32(), 1.0f / cap);
  for (size_t i = 0; i < n; i += kLanes) {
    const V32 t = hn::Mul(inverse, load_n(y + i, n - i)), d = load_n(dy + i, n - i);
    store_n(hn::NegMulAdd(d, hn::Mul(t, t), d), dy + i, n - i);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS

#if HWY_ONCE
namespace fathom {

template <class S>
void softcap_forward(S* x, S cap, size_t n) {
  if (!use_simd<S>()) return softcap_forward_ref(x, cap, n);
  if constexpr (std::is_same_v<S, float>) FATHOM_SIMD(softcap_forward_simd)(x, cap, n);
}

template <class S>
void softcap_backward(S* dy, const S* y, S cap, size_t n) {
  if (!use_simd<S>()) return softcap_backward_ref(dy, y, cap, n);
  if constexpr (std::is_same_v<S, float>) FATHOM_SIMD(softcap_backward_simd)(dy, y, cap, n);
}

template void softcap_forward(double*, double, size_t);
template void softcap_forward(float*, float, size_t);
template void softcap_backward(double*, const double*, double, size_t);
template void softcap_backward(float*, const float*, float, size_t);

}  // namespace fathom
#endif  // HWY_ONCE
