#pragma once
// What both passes of attention on tiles share. To be included where AVX-512 is in force (see
// gemm_avx512_bf16.cpp), after everything else.

#include <immintrin.h>

#include "kernels/attention_tiles.h"
#include "kernels/gemm_tiles.h"

namespace fathom {
namespace {

using gemm_detail::kStepDepth;
using gemm_detail::kStepUnits;
using gemm_detail::Source;

constexpr size_t kLanes = 16;
constexpr float kLog2e = 0x1.715476p+0f;

/// Pieces are multiples of a cache line, so that each is aligned to one.
struct TileScratch : Scratch {
  /// Room for packed strips or panels: `count` steps.
  uint32_t* take_steps(size_t count) { return reinterpret_cast<uint32_t*>(take(count * kStepUnits)); }
};

/// 2^(x - 1/2): the exponent's half comes off in the polynomial, so that the whole part of x is its floor,
/// which is what both instructions around it work with. Interpolates at Chebyshev nodes; relative error
/// 3.5e-6 (bf16, to which the result is rounded: 2e-3). Far below 0 it becomes 0; NaN stays NaN.
[[gnu::always_inline]] inline __m512 exp2_less_half(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, 0x01);  // x - floor(x)
  __m512 p = _mm512_set1_ps(0x1.3cbf6p-7f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.2bbd32p-5f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.5de168p-3f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.f5c418p-2f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.6a0a3ap-1f));
  return _mm512_scalef_ps(p, x);
}

inline __m512i lane_numbers() {
  return _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}

struct Larger {
  [[gnu::always_inline]] static inline __m512 of(__m512 x, __m512 y) { return _mm512_max_ps(x, y); }
};
struct Sum {
  [[gnu::always_inline]] static inline __m512 of(__m512 x, __m512 y) { return _mm512_add_ps(x, y); }
};

/// Lane r: Op over all lanes of rows[r]: halves, quarters, pairs, neighbours, in the order of
/// _mm512_reduce_add_ps.
template <class Op>
[[gnu::always_inline]] inline __m512 reduce_rows(const __m512 (&rows)[kLanes]) {
  __m512 half[8], quarter[4], pair[2];
#pragma GCC unroll 8
  for (size_t i = 0; i < 8; ++i)
    half[i] = Op::of(_mm512_shuffle_f32x4(rows[i], rows[i + 8], 0x44),
                     _mm512_shuffle_f32x4(rows[i], rows[i + 8], 0xee));
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i)
    quarter[i] = Op::of(_mm512_shuffle_f32x4(half[i], half[i + 4], 0x88),
                        _mm512_shuffle_f32x4(half[i], half[i + 4], 0xdd));
#pragma GCC unroll 2
  for (size_t i = 0; i < 2; ++i)
    pair[i] = Op::of(_mm512_shuffle_ps(quarter[i], quarter[i + 2], 0x44),
                     _mm512_shuffle_ps(quarter[i], quarter[i + 2], 0xee));
  const __m512 all =
      Op::of(_mm512_shuffle_ps(pair[0], pair[1], 0x88), _mm512_shuffle_ps(pair[0], pair[1], 0xdd));
  // Each step has put rows that are half, a quarter, ... of all apart next to each other.
  const __m512i order = _mm512_set_epi32(15, 13, 14, 12, 7, 5, 6, 4, 11, 9, 10, 8, 3, 1, 2, 0);
  return _mm512_permutexvar_ps(order, all);
}

/// Two neighbours of a row as 32 bf16: what a row of a tile of A holds.
[[gnu::always_inline]] inline void store_along(uint32_t* to, __m512 left, __m512 right) {
  _mm512_store_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(right, left)));
}

/// Two rows as 16 pairs: what a row of a tile of B holds.
[[gnu::always_inline]] inline void store_across(uint32_t* to, __m512 upper, __m512 lower) {
  const auto rows = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(lower, upper));
  _mm512_store_si512(to, _mm512_permutexvar_epi16(_mm512_load_si512(kInterleaveRows), rows));
}

template <class Tiles, int T, bool streams>
[[gnu::always_inline]] inline void load_b(const uint32_t* b) {
  if constexpr (streams)
    Tiles::template load_streamed<T>(b, gemm_detail::kTileRowBytes);
  else
    Tiles::template load<T>(b, gemm_detail::kTileRowBytes);
}

/// c (32, 32), rows ld floats apart, = or += a strip of A times a panel of B, `steps` steps of each. B is
/// read from the second-level cache if `streams_b`.
template <class Tiles, bool adds, bool streams_b = false>
[[gnu::always_inline]] inline void multiply_strip(float* c, size_t ld, const uint32_t* a, const uint32_t* b,
                                                  size_t steps) {
  const size_t stride = ld * sizeof(float);
  constexpr size_t kTileUnits = kStepUnits / 2, kRowBytes = gemm_detail::kTileRowBytes;
  float* const lower = c + gemm_detail::kTileRows * ld;
  if constexpr (adds) {
    Tiles::template load<0>(c, stride);
    Tiles::template load<1>(c + kLanes, stride);
    Tiles::template load<2>(lower, stride);
    Tiles::template load<3>(lower + kLanes, stride);
  } else {
    Tiles::template zero<0>();
    Tiles::template zero<1>();
    Tiles::template zero<2>();
    Tiles::template zero<3>();
  }
  for (size_t s = 0; s < steps; ++s, a += kStepUnits, b += kStepUnits) {
    load_b<Tiles, 6, streams_b>(b);
    Tiles::template load<4>(a, kRowBytes);
    Tiles::template dot<0, 4, 6>();
    load_b<Tiles, 7, streams_b>(b + kTileUnits);
    Tiles::template dot<1, 4, 7>();
    Tiles::template load<5>(a + kTileUnits, kRowBytes);
    Tiles::template dot<2, 5, 6>();
    Tiles::template dot<3, 5, 7>();
  }
  Tiles::template store<0>(c, stride);
  Tiles::template store<1>(c + kLanes, stride);
  Tiles::template store<2>(lower, stride);
  Tiles::template store<3>(lower + kLanes, stride);
}

/// Rows that will be read or written soon and that the hardware cannot foresee: a head's rows lie a row of
/// all heads apart. Asked for a few at a time, beside products. (Stores wait too: for a line that is far
/// away, and all stores behind them.)
struct RowsAhead {
  const bf16* rows_of[3];
  size_t stride[3];
  size_t count, row, rows, HS;

  /// Asks for the next `n` rows of each.
  template <bool to_write = false>
  void ask(size_t n) {
    for (size_t end = row + n < rows ? row + n : rows; row < end; ++row) {
      for (size_t x = 0; x < count; ++x) {
        for (size_t i = 0; i < HS; i += 2 * kLanes)
          __builtin_prefetch(rows_of[x] + row * stride[x] + i, to_write, 2);
      }
    }
  }
};

inline Source rows_of(const bf16* from, size_t stride) {
  return {reinterpret_cast<const std::byte*>(from), DType::kBf16, stride};
}

/// Packs `lines` lines of HS numbers as strips or panels of 32 lines, the summed dimension along the lines:
/// HSp / 32 steps each. Lines up to the next multiple of 32 are zero.
inline void pack_lines(uint32_t* to, gemm_detail::PackTiles pack, const bf16* from, size_t stride,
                       size_t lines, size_t HS) {
  const size_t steps = (HS + kStepDepth - 1) / kStepDepth;
  for (size_t l = 0; l < lines; l += kTileStrip, to += steps * kStepUnits)
    pack(to, rows_of(from + l * stride, stride), lines - l < kTileStrip ? lines - l : kTileStrip, HS);
}

/// Packs them with the lines as the summed dimension: HSp / 32 strips or panels of 32 positions, each of
/// ceil(lines / 32) steps.
inline void pack_positions(uint32_t* to, gemm_detail::PackTiles pack, const bf16* from, size_t stride,
                           size_t lines, size_t HS) {
  const size_t steps = (lines + kStepDepth - 1) / kStepDepth;
  for (size_t i = 0; i < HS; i += kTileStrip, to += steps * kStepUnits)
    pack(to, rows_of(from + i, stride), HS - i < kTileStrip ? HS - i : kTileStrip, lines);
}

}  // namespace
}  // namespace fathom
