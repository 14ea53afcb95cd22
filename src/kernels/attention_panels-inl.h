// Small matrix products for attention: operands packed into panels, and the tile that multiplies them.
// Compiled once per target; see simd_dispatch.h.
//
// A panel holds 32-bit elements: floats, or pairs of bf16 that are neighbours along the summed dimension, as
// the processor's dot product wants them. In units of elements, everything but packing is then the same for
// both.

#include "core/types.h"
#include "kernels/attention_plan.h"
#include "kernels/simd-inl.h"

#if defined(FATHOM_KERNELS_ATTENTION_PANELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_ATTENTION_PANELS_INL_H_
#undef FATHOM_KERNELS_ATTENTION_PANELS_INL_H_
#else
#define FATHOM_KERNELS_ATTENTION_PANELS_INL_H_
#endif

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
#ifdef FATHOM_DPBF16
#pragma GCC target("avx512bf16")  // on top of AVX-512; undone by HWY_AFTER_NAMESPACE()
#endif
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

// 4 x 4 transposes within each 128-bit block of four vectors.
HWY_INLINE void transpose_blocks(V32& r0, V32& r1, V32& r2, V32& r3) {
  const F32 d;
  const hn::RepartitionToWide<F32> wide;
  const V32 a = hn::InterleaveLower(d, r0, r1), b = hn::InterleaveLower(d, r2, r3);
  const V32 e = hn::InterleaveUpper(d, r0, r1), f = hn::InterleaveUpper(d, r2, r3);
  const auto a2 = hn::BitCast(wide, a), b2 = hn::BitCast(wide, b);
  const auto e2 = hn::BitCast(wide, e), f2 = hn::BitCast(wide, f);
  r0 = hn::BitCast(d, hn::InterleaveLower(wide, a2, b2));
  r1 = hn::BitCast(d, hn::InterleaveUpper(wide, a2, b2));
  r2 = hn::BitCast(d, hn::InterleaveLower(wide, e2, f2));
  r3 = hn::BitCast(d, hn::InterleaveUpper(wide, e2, f2));
}

using Quad = hn::CappedTag<float, 4>;

struct Maximum {
  template <class V>
  static HWY_INLINE V of(V a, V b) {
    return hn::Max(a, b);
  }
};
struct Sum {
  template <class V>
  static HWY_INLINE V of(V a, V b) {
    return hn::Add(a, b);
  }
};

// The 128-bit blocks of v, reduced to one.
template <class Op, class D>
HWY_INLINE hn::Vec<Quad> reduce_blocks(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return v;
  } else {
    const hn::Half<D> half;
    return reduce_blocks<Op>(half, Op::of(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

/// Four vectors reduced to four numbers, in half the operations that four reductions take.
template <class Op>
HWY_INLINE hn::Vec<Quad> reduce_rows(V32 r0, V32 r1, V32 r2, V32 r3) {
  transpose_blocks(r0, r1, r2, r3);
  return reduce_blocks<Op>(F32(), Op::of(Op::of(r0, r1), Op::of(r2, r3)));
}

// 128-bit block i of v to `to + 4 i stride`.
template <class D>
HWY_INLINE void store_blocks(D d, hn::Vec<D> v, float* to, size_t stride) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    hn::StoreU(v, d, to);
  } else {
    const hn::Half<D> half;
    store_blocks(half, hn::LowerHalf(half, v), to, stride);
    store_blocks(half, hn::UpperHalf(half, v), to + hn::MaxLanes(D()) / 2 * stride, stride);
  }
}

/// to (columns, ld_to) = from (rows, ld_from) transposed, in elements; rows a multiple of 4. Writes columns
/// up to the next multiple of kLanes.
HWY_INLINE void transpose(float* to, size_t ld_to, const float* from, size_t ld_from, size_t rows,
                          size_t columns) {
  for (size_t r = 0; r < rows; r += 4) {
    const float* row = from + r * ld_from;
    for (size_t c = 0; c < columns; c += kLanes) {
      V32 r0 = load(row + c), r1 = load(row + ld_from + c), r2 = load(row + 2 * ld_from + c),
          r3 = load(row + 3 * ld_from + c);
      transpose_blocks(r0, r1, r2, r3);
      float* at = to + c * ld_to + r;
      store_blocks(F32(), r0, at, ld_to);
      store_blocks(F32(), r1, at + ld_to, ld_to);
      store_blocks(F32(), r2, at + 2 * ld_to, ld_to);
      store_blocks(F32(), r3, at + 3 * ld_to, ld_to);
    }
  }
}

/// `rows` rows of HS numbers, `stride` apart, to rows of HSp floats (HSp - HS zeros); then zero rows up to
/// `padded` rows.
template <class W>
void pack_floats(float* to, const W* from, size_t stride, size_t rows, size_t padded, size_t HS, size_t HSp) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < HSp; i += kLanes) {
      store(i < HS ? load_n(from + r * stride + i, HS - i) : hn::Zero(F32()), to + r * HSp + i);
    }
  }
  std::memset(to + rows * HSp, 0, (padded - rows) * HSp * sizeof(float));
}

/// The same with pairs along the row: rows of HSp / 2 elements.
inline void pack_pairs(float* to, const bf16* from, size_t stride, size_t rows, size_t padded, size_t HS,
                       size_t HSp) {
  const hn::CappedTag<uint16_t, 8> d;  // HS is a multiple of 8
  auto* bits = reinterpret_cast<uint16_t*>(to);
  for (size_t r = 0; r < rows; ++r, bits += HSp) {
    const auto* row = reinterpret_cast<const uint16_t*>(from + r * stride);
    for (size_t i = 0; i < HSp; i += 8) hn::StoreU(i < HS ? hn::LoadU(d, row + i) : hn::Zero(d), d, bits + i);
  }
  std::memset(to + rows * (HSp / 2), 0, (padded - rows) * (HSp / 2) * sizeof(float));
}

/// Pairs down the rows: element (r / 2, i) of to (padded / 2, HSp) holds numbers (r, i) and (r + 1, i).
inline void pack_row_pairs(float* to, const bf16* from, size_t stride, size_t rows, size_t padded, size_t HS,
                           size_t HSp) {
  const hn::CappedTag<uint16_t, 8> d16;  // HS is a multiple of 8
  const hn::Rebind<uint32_t, decltype(d16)> d32;
  for (size_t r = 0; r < rows; r += 2, to += HSp) {
    const auto* low = reinterpret_cast<const uint16_t*>(from + r * stride);
    for (size_t i = 0; i < HS; i += 8) {
      auto pair = hn::PromoteTo(d32, hn::LoadU(d16, low + i));
      if (r + 1 < rows) {
        pair = hn::Or(pair, hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, low + stride + i))));
      }
      hn::StoreU(pair, d32, reinterpret_cast<uint32_t*>(to + i));
    }
    for (size_t i = HS; i < HSp; i += 8) hn::StoreU(hn::Zero(d32), d32, reinterpret_cast<uint32_t*>(to + i));
  }
  std::memset(to, 0, (padded - (rows + 1) / 2 * 2) / 2 * HSp * sizeof(float));
}

/// Elements are floats; "along" and "across" are then the same.
struct FloatPanel {
  static constexpr size_t kPer = 1;  ///< Numbers of the summed dimension in an element.

  static HWY_INLINE V32 multiply_add(V32 a, V32 b, V32 sum) { return hn::MulAdd(a, b, sum); }
  /// Stores kPer vectors that are neighbours in a row, from `column` on; the row is the summed dimension.
  static HWY_INLINE void store_along(const V32 (&v)[kPer], float* row, size_t column) {
    store(v[0], row + column);
  }
  /// Stores vectors of kPer neighbouring rows to one row of elements; the summed dimension goes down.
  static HWY_INLINE void store_across(const V32 (&v)[kPer], float* to) { store(v[0], to); }

  template <class W>
  static void pack_along(float* to, const W* from, size_t stride, size_t rows, size_t padded, size_t HS,
                         size_t HSp) {
    pack_floats(to, from, stride, rows, padded, HS, HSp);
  }
  template <class W>
  static void pack_across(float* to, const W* from, size_t stride, size_t rows, size_t padded, size_t HS,
                          size_t HSp) {
    pack_floats(to, from, stride, rows, padded, HS, HSp);
  }
};

#ifdef FATHOM_DPBF16
/// Elements are pairs of bf16; products and sums are fp32 (VDPBF16PS; denormals count as 0). What is computed
/// here and not read from bf16 (probabilities and their gradients) is rounded to bf16.
struct Bf16Panel {
  static constexpr size_t kPer = 2;

  static HWY_INLINE V32 multiply_add(V32 a, V32 b, V32 sum) {
    return V32{_mm512_dpbf16_ps(sum.raw, (__m512bh)a.raw, (__m512bh)b.raw)};
  }
  static HWY_INLINE void store_along(const V32 (&v)[kPer], float* row, size_t column) {
    _mm512_storeu_si512(row + column / 2, (__m512i)_mm512_cvtne2ps_pbh(v[1].raw, v[0].raw));
  }
  static HWY_INLINE void store_across(const V32 (&v)[kPer], float* to) {
    const __m512i rows = (__m512i)_mm512_cvtne2ps_pbh(v[1].raw, v[0].raw);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi16(_mm512_load_si512(kInterleaveRows), rows));
  }
  static void pack_along(float* to, const bf16* from, size_t stride, size_t rows, size_t padded, size_t HS,
                         size_t HSp) {
    pack_pairs(to, from, stride, rows, padded, HS, HSp);
  }
  static void pack_across(float* to, const bf16* from, size_t stride, size_t rows, size_t padded, size_t HS,
                          size_t HSp) {
    pack_row_pairs(to, from, stride, rows, padded, HS, HSp);
  }
};
#endif

/// Rows of a tile: with kTileVectors columns of vectors, 16 sums of AVX-512's 32 registers, 8 of AVX2's 16.
constexpr size_t kTileRows = HWY_TARGET == HWY_AVX2 ? 4 : 8;
constexpr size_t kTileVectors = 2;

/// What a tile multiplies. Element (i, k) of a is a[i * a_row + k * a_k]; (k, n) of b is b[k * ldb + n].
struct Operands {
  const float* a;
  size_t a_row, a_k;
  const float* b;
  size_t ldb;
};

/// c (kTileRows x vectors) = or += a b over k in [k_begin, k_end).
template <class Panel, size_t kVectors, bool kAccumulate>
HWY_INLINE void multiply_tile(float* c, size_t ldc, const Operands& o, size_t k_begin, size_t k_end) {
  const F32 d;
  V32 sum[kTileRows][kVectors];
#pragma GCC unroll 8
  for (size_t i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v)
      sum[i][v] = kAccumulate ? hn::LoadU(d, c + i * ldc + v * kLanes) : hn::Zero(d);
  }
  const float* a = o.a + k_begin * o.a_k;
  const float* b = o.b + k_begin * o.ldb;
  for (size_t k = k_begin; k < k_end; ++k, a += o.a_k, b += o.ldb) {
    V32 row[kVectors];
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, b + v * kLanes);
#pragma GCC unroll 8
    for (size_t i = 0; i < kTileRows; ++i) {
      const V32 factor = hn::Set(d, a[i * o.a_row]);
#pragma GCC unroll 2
      for (size_t v = 0; v < kVectors; ++v) sum[i][v] = Panel::multiply_add(factor, row[v], sum[i][v]);
    }
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v) hn::StoreU(sum[i][v], d, c + i * ldc + v * kLanes);
  }
}

/// One row of tiles: columns [0, columns), columns a multiple of kLanes.
template <class Panel, bool kAccumulate>
void multiply_rows(float* c, size_t ldc, Operands o, size_t columns, size_t k_begin, size_t k_end) {
  constexpr size_t kWide = kTileVectors * kLanes;
  size_t n = 0;
  for (; n + kWide <= columns; n += kWide, c += kWide, o.b += kWide)
    multiply_tile<Panel, kTileVectors, kAccumulate>(c, ldc, o, k_begin, k_end);
  if (n < columns) multiply_tile<Panel, 1, kAccumulate>(c, ldc, o, k_begin, k_end);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS
#endif  // per-target include guard
