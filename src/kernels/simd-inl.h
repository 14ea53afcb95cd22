// Vectors of floats, and functions of them: exp, tanh, the highest of many. Compiled once per target; see
// simd_dispatch.h.

// First of all: compiles the including .cpp for each target before this pass goes on.
#include "kernels/simd_dispatch.h"

#include <cstddef>

#include "kernels/vectors-inl.h"

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

/// The larger of 0 and x; NaN stays NaN. With x second, max passes one on (x86: an unordered comparison gives
/// the second operand).
HWY_INLINE V32 positive_part(V32 x) { return hn::Max(hn::Zero(F32()), x); }

/// 2^y for y <= 0 (or little above): below 2^-126 the result is 0, so that no denormal arises. NaN stays NaN:
/// it takes the way of what is too low, since a whole number would be made of its payload.
HWY_INLINE V32 exp2_nonpositive(V32 y) {
  const F32 d;
  const I32 i;
  const V32 magic = hn::Set(d, 0x1.8p23f);  // adding it rounds to a whole number, which lands in the low bits
  const V32 t = hn::Add(y, magic);
  const V32 p = exp2_fraction(hn::Sub(y, hn::Sub(t, magic)));
  const auto scaled = hn::Add(hn::BitCast(i, p), hn::ShiftLeft<23>(hn::BitCast(i, t)));
  return hn::IfThenElse(hn::Ge(y, hn::Set(d, -126.0f)), hn::BitCast(d, scaled), positive_part(y));
}

/// exp(x) for x <= kExpBound, where it is 0.98 of the largest float: 0 below -87.3, else to about 1 ulp. NaN
/// stays NaN, as above. Past the bound any number.
constexpr float kExpBound = 88.7f;
HWY_INLINE V32 exp_bounded(V32 x) {
  const F32 d;
  const I32 i;
  const V32 magic = hn::Set(d, 0x1.8p23f);
  const V32 t = hn::MulAdd(x, hn::Set(d, kLog2e), magic);
  V32 r = hn::MulSub(x, hn::Set(d, kLog2e), hn::Sub(t, magic));
  r = hn::MulAdd(x, hn::Set(d, kLog2eLow), r);
  const V32 p = exp2_fraction(r);
  const auto scaled = hn::Add(hn::BitCast(i, p), hn::ShiftLeft<23>(hn::BitCast(i, t)));
  return hn::IfThenElse(hn::Ge(x, hn::Set(d, -87.3f)), hn::BitCast(d, scaled), positive_part(x));
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

/// The highest of x[0], ..., x[n - 1], n > 0.
HWY_INLINE float highest_of(const float* x, size_t n) {
  V32 highest = hn::Set(F32(), x[0]);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) highest = hn::Max(highest, load(x + i));
  float result = max_lanes(highest);
  for (; i < n; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS
#endif  // per-target include guard
