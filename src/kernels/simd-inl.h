// Vectors of floats: loads and stores of float and bf16, sums, exp. Compiled once per target; see
// simd_dispatch.h.

// First of all: compiles the including .cpp for each target before this pass goes on.
#include "kernels/simd_dispatch.h"

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/types.h"

// The include guard of a per-target header: toggled in each pass.
#if defined(FATHOM_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_SIMD_INL_H_
#undef FATHOM_KERNELS_SIMD_INL_H_
#else
#define FATHOM_KERNELS_SIMD_INL_H_
#endif

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using V32 = hn::Vec<F32>;
using I32 = hn::RebindToSigned<F32>;
using U32 = hn::RebindToUnsigned<F32>;
using U16 = hn::Rebind<uint16_t, F32>;
constexpr size_t kLanes = HWY_LANES(float);

HWY_INLINE V32 load(const float* p) { return hn::LoadU(F32(), p); }
HWY_INLINE V32 load(const bf16* p) {
  const auto bits = hn::LoadU(U16(), reinterpret_cast<const uint16_t*>(p));
  return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(U32(), bits)));
}

/// The bits of v rounded to bf16, each in the low half of its lane: to nearest, ties to even; NaN stays NaN.
/// The same function as bf16(float) of core/types.h, which the processor's own instruction is not: that one
/// flushes denormals.
HWY_INLINE hn::Vec<U32> bf16_bits(V32 v) {
  const U32 u;
  const auto bits = hn::BitCast(u, v);
  const auto high = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(high, hn::Set(u, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(u, 0x7fffu))));
  const auto quiet = hn::Or(high, hn::Set(u, 0x40u));
  return hn::IfThenElse(hn::RebindMask(u, hn::Eq(v, v)), rounded, quiet);  // Highway's Ne is false for NaN
}

HWY_INLINE void store(V32 v, float* p) { hn::StoreU(v, F32(), p); }
HWY_INLINE void store(V32 v, bf16* p) {
  hn::StoreU(hn::TruncateTo(U16(), bf16_bits(v)), U16(), reinterpret_cast<uint16_t*>(p));
}

/// The first min(n, kLanes) elements at p, zeros behind them. Nothing beyond p + n is read.
template <class T>
HWY_INLINE V32 load_n(const T* p, size_t n) {
  if (HWY_LIKELY(n >= kLanes)) return load(p);
  HWY_ALIGN T buffer[kLanes] = {};
  std::memcpy(static_cast<void*>(buffer), p, n * sizeof(T));
  return load(buffer);
}

/// Stores the first min(n, kLanes) lanes.
template <class T>
HWY_INLINE void store_n(V32 v, T* p, size_t n) {
  if (HWY_LIKELY(n >= kLanes)) return store(v, p);
  HWY_ALIGN T buffer[kLanes];
  store(v, buffer);
  std::memcpy(static_cast<void*>(p), buffer, n * sizeof(T));
}

HWY_INLINE float sum_lanes(V32 v) { return hn::GetLane(hn::SumOfLanes(F32(), v)); }
HWY_INLINE float max_lanes(V32 v) { return hn::GetLane(hn::MaxOfLanes(F32(), v)); }

/// 2^r for |r| <= 1/2: 1 + r q(r), q of degree 5 interpolating (2^r - 1) / r at Chebyshev nodes; relative
/// error 5e-9 before rounding.
HWY_INLINE V32 exp2_fraction(V32 r) {
  const F32 d;
  V32 p = hn::Set(d, 0x1.44138ap-13f);
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.5f089p-10f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.3b2a54p-7f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.c6af6cp-5f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.ebfbep-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.62e43p-1f));
  return hn::MulAdd(p, r, hn::Set(d, 1.0f));
}

// log2(e) in two parts: the product with x then rounds once, after the whole number has been taken off.
constexpr float kLog2e = 0x1.715476p+0f, kLog2eLow = 0x1.4ae0cp-26f;

/// 2^y for y <= 0 (or little above): below 2^-126 the result is 0, so that no denormal arises. NaN stays NaN.
HWY_INLINE V32 exp2_nonpositive(V32 y) {
  const F32 d;
  const I32 i;
  const V32 magic = hn::Set(d, 0x1.8p23f);  // adding it rounds to a whole number, which lands in the low bits
  const V32 t = hn::Add(y, magic);
  const V32 p = exp2_fraction(hn::Sub(y, hn::Sub(t, magic)));
  const auto scaled = hn::Add(hn::BitCast(i, p), hn::ShiftLeft<23>(hn::BitCast(i, t)));
  return hn::IfThenZeroElse(hn::Lt(y, hn::Set(d, -126.0f)), hn::BitCast(d, scaled));
}

/// exp(x) for x <= 88.7 (half of the largest float): 0 below -87.3, else to about 1 ulp. NaN stays NaN.
HWY_INLINE V32 exp_bounded(V32 x) {
  const F32 d;
  const I32 i;
  const V32 magic = hn::Set(d, 0x1.8p23f);
  const V32 t = hn::MulAdd(x, hn::Set(d, kLog2e), magic);
  V32 r = hn::MulSub(x, hn::Set(d, kLog2e), hn::Sub(t, magic));
  r = hn::MulAdd(x, hn::Set(d, kLog2eLow), r);
  const V32 p = exp2_fraction(r);
  const auto scaled = hn::Add(hn::BitCast(i, p), hn::ShiftLeft<23>(hn::BitCast(i, t)));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.3f)), hn::BitCast(d, scaled));
}

/// tanh(x), relative error below 5e-7; NaN stays NaN. Near 0, where 1 - 2 / (exp(2x) + 1) cancels, its
/// series.
HWY_INLINE V32 tanh(V32 x) {
  const F32 d;
  const V32 square = hn::Mul(x, x);
  V32 series = hn::Set(d, 62.0f / 2835);
  series = hn::MulAdd(series, square, hn::Set(d, -17.0f / 315));
  series = hn::MulAdd(series, square, hn::Set(d, 2.0f / 15));
  series = hn::MulAdd(series, square, hn::Set(d, -1.0f / 3));
  series = hn::MulAdd(hn::Mul(series, square), x, x);
  const V32 one = hn::Set(d, 1.0f), two = hn::Set(d, 2.0f);
  // At the bound far is 1. With 2 x second, min passes a NaN on.
  const V32 exp_of_twice = exp_bounded(hn::Min(hn::Set(d, 88.0f), hn::Mul(two, x)));
  const V32 far = hn::Sub(one, hn::Div(two, hn::Add(exp_of_twice, one)));
  return hn::IfThenElse(hn::Lt(hn::Abs(x), hn::Set(d, 0.25f)), series, far);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS
#endif  // per-target include guard
