// Vectors of floats for gemm, loaded from and stored to fp32 or bf16: compiled once for each instruction set.

#if defined(FATHOM_KERNELS_GEMM_FLOAT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_GEMM_FLOAT_INL_H_
#undef FATHOM_KERNELS_GEMM_FLOAT_INL_H_
#else
#define FATHOM_KERNELS_GEMM_FLOAT_INL_H_
#endif

#include "core/types.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::gemm_detail {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Bits = hn::RebindToUnsigned<Floats>;
using Halves = hn::Rebind<uint16_t, Floats>;
using V = hn::Vec<Floats>;
constexpr size_t kLanes = HWY_LANES(float);

// Rounds to bf16 and widens again: nearest, ties to even; NaN stays NaN.
HWY_INLINE V round_to_bf16(V v) {
  const Floats d;
  const Bits du;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::And(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu))), hn::Set(du, 0xffff0000u));
  const auto quiet = hn::Or(hn::And(bits, hn::Set(du, 0xffff0000u)), hn::Set(du, 0x00400000u));
  return hn::IfThenElse(hn::IsNaN(v), hn::BitCast(d, quiet), hn::BitCast(d, rounded));
}

// kLanes positions of an operand as floats.
template <DType type>
HWY_INLINE V load(const std::byte* p) {
  const Floats d;
  if constexpr (type == DType::kF32) {
    return hn::LoadU(d, reinterpret_cast<const float*>(p));
  } else {
    const auto halves = hn::LoadU(Halves(), reinterpret_cast<const uint16_t*>(p));
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(Bits(), halves)));
  }
}

template <DType type>
HWY_INLINE void save(V v, std::byte* p) {
  const Floats d;
  if constexpr (type == DType::kF32) {
    hn::StoreU(v, d, reinterpret_cast<float*>(p));
  } else {
    const auto upper = hn::ShiftRight<16>(hn::BitCast(Bits(), round_to_bf16(v)));
    hn::StoreU(hn::DemoteTo(Halves(), hn::BitCast(hn::RebindToSigned<Floats>(), upper)), Halves(),
               reinterpret_cast<uint16_t*>(p));
  }
}

// Calls body(j, tail) for j = 0, kLanes, ... below n; tail is the number of positions, below kLanes in the
// last.
template <class Body>
HWY_INLINE void for_vectors(size_t n, const Body& body) {
  size_t j = 0;
  for (; j + kLanes <= n; j += kLanes) body(j, kLanes);
  if (j < n) body(j, n - j);
}

template <DType type>
HWY_INLINE V load_part(const std::byte* p, size_t n) {
  if (n == kLanes) return load<type>(p);
  constexpr size_t size = type == DType::kF32 ? 4 : 2;
  alignas(64) std::byte part[kLanes * size] = {};
  __builtin_memcpy(part, p, n * size);
  return load<type>(part);
}

template <DType type>
HWY_INLINE void save_part(V v, std::byte* p, size_t n) {
  if (n == kLanes) return save<type>(v, p);
  constexpr size_t size = type == DType::kF32 ? 4 : 2;
  alignas(64) std::byte part[kLanes * size];
  save<type>(v, part);
  __builtin_memcpy(p, part, n * size);
}

// Like load_part; where `round` is set, floats are rounded to bf16.
template <DType type, bool round>
HWY_INLINE V load_unit(const std::byte* p, size_t n) {
  const V v = load_part<type>(p, n);
  if constexpr (round && type == DType::kF32)
    return round_to_bf16(v);
  else
    return v;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom::gemm_detail
HWY_AFTER_NAMESPACE();

#endif  // include guard of each instruction set
