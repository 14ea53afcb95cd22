// Vectors of floats: loads and stores of float and bf16, whole and in part, sums of lanes. Compiled once per
// target, whichever those of the including file are.

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/types.h"

// The include guard of a per-target header: toggled in each pass.
#if defined(FATHOM_KERNELS_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_VECTORS_INL_H_
#undef FATHOM_KERNELS_VECTORS_INL_H_
#else
#define FATHOM_KERNELS_VECTORS_INL_H_
#endif

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

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
