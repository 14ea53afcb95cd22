// Packing into tiles with AVX-512. What limits it are the shuffles, one a cycle on the processors that have
// AMX; a 64-byte row of a packed tile takes one to three of them, and serves N / 16 cycles of products
// (a row of A; M / 16 for one of B).

#include "kernels/gemm_epilogue_blocks.h"
#include "kernels/gemm_tiles.h"

// Everything below, and nothing above, may use AVX-512 (see gemm_avx512_bf16.cpp).
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#include <immintrin.h>

namespace fathom::gemm_detail {
namespace {

constexpr size_t kRowUnits = kTileUnits;  // a row of a tile is a register

// 32 positions as bf16; those from n on are zero and not read.
template <DType type>
__m512i load_row(const std::byte* p, size_t n) {
  const __mmask32 mask = n >= kStepDepth ? ~__mmask32(0) : (__mmask32(1) << n) - 1;
  if constexpr (type == DType::kF32) {
    const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), p);
    const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), p + 64);
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
  } else {
    return _mm512_maskz_loadu_epi16(mask, p);
  }
}

// Line l of a step, or zero past the last.
template <DType type>
__m512i load_line(const Source& from, size_t l, size_t lines, size_t position, size_t n) {
  return l < lines ? load_row<type>(from.at(l, position), n) : _mm512_setzero_si512();
}

// A's rows as they are. Line by line, since the hardware's prefetchers follow a line.
template <DType type>
void pack_a_along(uint32_t* to, Source from, size_t extent, size_t k) {
  for (size_t l = 0; l < kStrip; ++l) {
    uint32_t* row = to + l * kRowUnits;
    for (size_t p = 0; p < k; p += kStepDepth, row += kStepUnits)
      _mm512_store_si512(row, load_line<type>(from, l, extent, p, k - p));
  }
}

// The lines of a step as bf16, side by side: lines that are a multiple of 4 KiB apart share a set of L1, so
// that a transpose that reads each of them four times would miss each time.
struct alignas(64) Staged {
  uint32_t units[kStrip * kRowUnits];

  template <DType type>
  void load(const Source& from, size_t lines, size_t position, size_t n) {
    for (size_t l = 0; l < kStrip; ++l)
      _mm512_store_si512(units + l * kRowUnits, load_line<type>(from, l, lines, position, n));
  }

  // Quarter g (16 bytes) of four lines, `apart` lines from one to the next, in a register. Broadcasts from
  // memory under a mask: no shuffles.
  __m512i quarters(size_t line, size_t apart, size_t g) const {
    const auto quarter = [&](size_t i) {
      return _mm_load_si128(reinterpret_cast<const __m128i*>(units + (line + i * apart) * kRowUnits + 4 * g));
    };
    __m512i v = _mm512_castsi128_si512(quarter(0));
    v = _mm512_mask_broadcast_i32x4(v, 0x00f0, quarter(1));
    v = _mm512_mask_broadcast_i32x4(v, 0x0f00, quarter(2));
    return _mm512_mask_broadcast_i32x4(v, 0xf000, quarter(3));
  }
};

// to (16 units, 16 lines) <- the transpose of 16 staged lines of 16 units.
void transpose_units_16x16(uint32_t* to, const Staged& staged, size_t first_line) {
  for (size_t g = 0; g < 4; ++g) {
    __m512i q[4];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i) q[i] = staged.quarters(first_line + i, 4, g);
    const __m512i low01 = _mm512_unpacklo_epi32(q[0], q[1]), high01 = _mm512_unpackhi_epi32(q[0], q[1]);
    const __m512i low23 = _mm512_unpacklo_epi32(q[2], q[3]), high23 = _mm512_unpackhi_epi32(q[2], q[3]);
    uint32_t* row = to + 4 * g * kRowUnits;
    _mm512_store_si512(row, _mm512_unpacklo_epi64(low01, low23));
    _mm512_store_si512(row + kRowUnits, _mm512_unpackhi_epi64(low01, low23));
    _mm512_store_si512(row + 2 * kRowUnits, _mm512_unpacklo_epi64(high01, high23));
    _mm512_store_si512(row + 3 * kRowUnits, _mm512_unpackhi_epi64(high01, high23));
  }
}

template <DType type>
void pack_b_along(uint32_t* to, Source from, size_t extent, size_t k) {
  Staged staged;
  for (size_t p = 0; p < k; p += kStepDepth, to += kStepUnits) {
    staged.load<type>(from, extent, p, k - p);
    transpose_units_16x16(to, staged, 0);
    transpose_units_16x16(to + kTileRows * kRowUnits, staged, kTileRows);
  }
}

// to (32 positions, 32 lines) <- the transpose of 32 staged lines of 32 bf16: within each 128-bit lane eight
// lines' pairs are formed, then pairs of pairs, then rows of eight.
void transpose_halves_32x32(uint32_t* to, const Staged& staged) {
  for (size_t g = 0; g < 4; ++g) {
    __m512i q[8], pairs[8], fours[8];
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; ++i) q[i] = staged.quarters(i, 8, g);
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i) {  // pairs[i]: positions 0 to 3 of lines 2i, 2i + 1; pairs[4 + i]: 4 to 7
      pairs[i] = _mm512_unpacklo_epi16(q[2 * i], q[2 * i + 1]);
      pairs[4 + i] = _mm512_unpackhi_epi16(q[2 * i], q[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i) {  // fours[2i + h]: positions 2i, 2i + 1 of lines 4h to 4h + 3
      const size_t from = i / 2 * 4;
      const bool high = i % 2 != 0;
      fours[2 * i] = high ? _mm512_unpackhi_epi32(pairs[from], pairs[from + 1])
                          : _mm512_unpacklo_epi32(pairs[from], pairs[from + 1]);
      fours[2 * i + 1] = high ? _mm512_unpackhi_epi32(pairs[from + 2], pairs[from + 3])
                              : _mm512_unpacklo_epi32(pairs[from + 2], pairs[from + 3]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i) {
      uint32_t* row = to + (8 * g + 2 * i) * kRowUnits;
      _mm512_store_si512(row, _mm512_unpacklo_epi64(fours[2 * i], fours[2 * i + 1]));
      _mm512_store_si512(row + kRowUnits, _mm512_unpackhi_epi64(fours[2 * i], fours[2 * i + 1]));
    }
  }
}

template <DType type>
void pack_a_across(uint32_t* to, Source from, size_t extent, size_t k) {
  Staged staged;
  for (size_t p = 0; p < k; p += kStepDepth, to += kStepUnits) {
    staged.load<type>({from.at(p, 0), type, from.ld}, k - p, 0, extent);
    transpose_halves_32x32(to, staged);
  }
}

// Interleaves two lines at a time. The quarters of a line are first put where the two interleavings, which
// work on 128-bit lanes, give columns 0 to 15 and 16 to 31.
template <DType type>
void pack_b_across(uint32_t* to, Source from, size_t extent, size_t k) {
  const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
  for (size_t p = 0; p < k; p += kStepDepth, to += kStepUnits) {
    for (size_t u = 0; u < kTileRows; ++u) {
      const size_t line = p + 2 * u;
      const __m512i even = _mm512_permutexvar_epi64(order, load_line<type>(from, line, k, 0, extent));
      const __m512i odd = _mm512_permutexvar_epi64(order, load_line<type>(from, line + 1, k, 0, extent));
      _mm512_store_si512(to + u * kRowUnits, _mm512_unpacklo_epi16(even, odd));
      _mm512_store_si512(to + (kTileRows + u) * kRowUnits, _mm512_unpackhi_epi16(even, odd));
    }
  }
}

template <bool streams>
void put(std::byte* to, __m512i v) {
  if constexpr (streams)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), v);
  else
    _mm512_storeu_si512(to, v);
}

// Rows of sums to C. Whole ones, of 32, in this way; others as gemm_avx512_bf16.cpp does.
template <DType type, bool streams, bool has_acc, bool has_addend>
void store_whole_rows(const float* sums, size_t rows, const Store& s) {
  constexpr size_t size = type == DType::kF32 ? 4 : 2, kLanes = 16;
  const __m512 scale = _mm512_set1_ps(s.scale);
  auto* out = static_cast<std::byte*>(s.out);
  const auto* addend = static_cast<const std::byte*>(s.addend);
  const float* acc = s.acc;
  for (size_t i = 0; i < rows; ++i, sums += kStrip, out += s.ld * size) {
    __m512 v[2];
#pragma GCC unroll 2
    for (size_t h = 0; h < 2; ++h) {
      v[h] = _mm512_load_ps(sums + h * kLanes);
      if constexpr (has_acc) v[h] = _mm512_add_ps(v[h], _mm512_loadu_ps(acc + h * kLanes));
      if constexpr (has_addend) {
        const std::byte* from = addend + h * kLanes * size;
        __m512 a;
        if constexpr (type == DType::kF32)
          a = _mm512_loadu_ps(from);
        else
          a = _mm512_castsi512_ps(_mm512_slli_epi32(
              _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))), 16));
        v[h] = _mm512_fmadd_ps(scale, a, v[h]);
      }
    }
    if constexpr (type == DType::kF32) {
      put<streams>(out, _mm512_castps_si512(v[0]));
      put<streams>(out + 64, _mm512_castps_si512(v[1]));
    } else {
      put<streams>(out, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(v[1], v[0])));
    }
    if constexpr (has_acc) acc += s.acc_ld;
    if constexpr (has_addend) addend += s.addend_ld * size;
  }
}

template <DType type>
void store_whole_rows(const float* sums, size_t rows, const Store& s) {
  if (s.acc == nullptr && s.addend == nullptr)
    return store_whole_rows<type, false, false, false>(sums, rows, s);
  if (s.acc == nullptr) return store_whole_rows<type, false, false, true>(sums, rows, s);
  if (s.addend == nullptr) return store_whole_rows<type, false, true, false>(sums, rows, s);
  store_whole_rows<type, false, true, true>(sums, rows, s);
}

void store_sums(const float* sums, size_t rows, size_t cols, const Store& s) {
  if (cols < kStrip) return bf16_kernels().store(sums, kStrip, rows, cols, s);
  if (s.dtype == DType::kF32) return store_whole_rows<DType::kF32>(sums, rows, s);
  store_whole_rows<DType::kBf16>(sums, rows, s);
}

// Only whole lines that are not read first are worth it.
void stream_sums(const float* sums, size_t rows, size_t cols, const Store& s) {
  const auto address = reinterpret_cast<uintptr_t>(s.out) | s.ld * dtype_size(s.dtype);
  if (cols < kStrip || address % 64 != 0 || s.acc != nullptr || s.addend != nullptr)
    return store_sums(sums, rows, cols, s);
  if (s.dtype == DType::kF32) return store_whole_rows<DType::kF32, true, false, false>(sums, rows, s);
  store_whole_rows<DType::kBf16, true, false, false>(sums, rows, s);
}

void fence() { _mm_sfence(); }

// The same for both types of operands.
template <PackTiles of_floats, PackTiles of_halves>
void pack(uint32_t* to, Source from, size_t extent, size_t k) {
  (from.dtype == DType::kF32 ? of_floats : of_halves)(to, from, extent, k);
}

constexpr DType kF32 = DType::kF32, kBf16 = DType::kBf16;

}  // namespace

const TilePacking& avx512_tile_packing() {
  static const TilePacking packing{pack<pack_a_along<kF32>, pack_a_along<kBf16>>,
                                   pack<pack_a_across<kF32>, pack_a_across<kBf16>>,
                                   pack<pack_b_along<kF32>, pack_b_along<kBf16>>,
                                   pack<pack_b_across<kF32>, pack_b_across<kBf16>>,
                                   store_sums,
                                   stream_sums,
                                   fence,
                                   &avx512_epilogue_blocks()};
  return packing;
}

}  // namespace fathom::gemm_detail

#pragma GCC pop_options
