// Vectors of floats for gemm, loaded from and stored to fp32 or bf16: compiled once for each instruction set.

#include <type_traits>

#if defined(FATHOM_KERNELS_GEMM_FLOAT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_GEMM_FLOAT_INL_H_
#undef FATHOM_KERNELS_GEMM_FLOAT_INL_H_
#else
#define FATHOM_KERNELS_GEMM_FLOAT_INL_H_
#endif

#include "core/types.h"
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::gemm_detail {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
namespace vectors = fathom::HWY_NAMESPACE;

using Floats = vectors::F32;
using V = vectors::V32;
using vectors::kLanes;

// Calls body(j, tail) for j = 0, kLanes, ... below n; tail is the number of positions, below kLanes in the
// last.
template <class Body>
HWY_INLINE void for_vectors(size_t n, const Body& body) {
  size_t j = 0;
  for (; j + kLanes <= n; j += kLanes) body(j, kLanes);
  if (j < n) body(j, n - j);
}

template <DType type>
using Element = std::conditional_t<type == DType::kF32, float, bf16>;

// n positions of an operand as floats, up to kLanes; zeros behind them.
template <DType type>
HWY_INLINE V load_part(const std::byte* p, size_t n) {
  return vectors::load_n(reinterpret_cast<const Element<type>*>(p), n);
}

template <DType type>
HWY_INLINE void save_part(V v, std::byte* p, size_t n) {
  vectors::store_n(v, reinterpret_cast<Element<type>*>(p), n);
}

// Like load_part; where `round` is set, floats are rounded to bf16.
template <DType type, bool round>
HWY_INLINE V load_unit(const std::byte* p, size_t n) {
  const V v = load_part<type>(p, n);
  if constexpr (round && type == DType::kF32)
    return hn::BitCast(Floats(), hn::ShiftLeft<16>(vectors::bf16_bits(v)));
  else
    return v;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom::gemm_detail
HWY_AFTER_NAMESPACE();

#endif  // include guard of each instruction set
