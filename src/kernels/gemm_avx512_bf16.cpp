// The bf16 kernels on vdpbf16ps: each lane adds the products of two neighbours along K to a float.
// Highway has no stable name for this instruction, hence intrinsics. vdpbf16ps and vcvtneps2bf16 take and
// give denormals as zero, whatever MXCSR says.

#include "kernels/gemm_kernels.h"

// Everything below, and nothing above, may use AVX-512: a shared inline function compiled here would be
// picked by the linker for other files too, and crash older machines.
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#include <immintrin.h>

namespace fathom::gemm_detail {
namespace {

// 8 rows x 3 registers of 16 floats: 24 of the 32 registers accumulate (enough to cover the latency of two
// products a cycle), 3 hold B and 1 a broadcast of A. A step loads 3 + 8 times for 24 products, fewer than
// any other shape that fits (12 x 2 takes 14).
constexpr size_t kRows = 8, kVectors = 3, kLanes = 16;
constexpr size_t kColumns = kVectors * kLanes;
static_assert(kRows * kColumns <= kMaxTile);

__m512bh as_bf16(__m512i v) { return reinterpret_cast<__m512bh>(v); }

__mmask16 mask16(size_t n) { return n >= 16 ? __mmask16(0xffff) : __mmask16((1u << n) - 1u); }

template <size_t R>
void multiply_rows(size_t units, const std::byte* a, size_t row_stride, size_t unit_stride, const uint32_t* b,
                   float* tile) {
  __m512 sum[R][kVectors];
#pragma GCC unroll 8
  for (size_t i = 0; i < R; ++i) {
#pragma GCC unroll 3
    for (size_t j = 0; j < kVectors; ++j) sum[i][j] = _mm512_setzero_ps();
  }
  for (size_t u = 0; u < units; ++u) {
    __m512bh b_u[kVectors];
#pragma GCC unroll 3
    for (size_t j = 0; j < kVectors; ++j) b_u[j] = as_bf16(_mm512_loadu_si512(b + j * kLanes));
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) {
      int32_t pair;
      __builtin_memcpy(&pair, a + i * row_stride, 4);
      const __m512bh a_iu = as_bf16(_mm512_set1_epi32(pair));
#pragma GCC unroll 3
      for (size_t j = 0; j < kVectors; ++j) sum[i][j] = _mm512_dpbf16_ps(sum[i][j], a_iu, b_u[j]);
    }
    a += unit_stride;
    b += kColumns;
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < R; ++i) {
#pragma GCC unroll 3
    for (size_t j = 0; j < kVectors; ++j) _mm512_storeu_ps(tile + i * kColumns + j * kLanes, sum[i][j]);
  }
}

void multiply(size_t rows, size_t units, const std::byte* a, size_t row_stride, size_t unit_stride,
              const uint32_t* b, float* tile) {
  switch (rows) {
    case 8:
      return multiply_rows<8>(units, a, row_stride, unit_stride, b, tile);
    case 7:
      return multiply_rows<7>(units, a, row_stride, unit_stride, b, tile);
    case 6:
      return multiply_rows<6>(units, a, row_stride, unit_stride, b, tile);
    case 5:
      return multiply_rows<5>(units, a, row_stride, unit_stride, b, tile);
    case 4:
      return multiply_rows<4>(units, a, row_stride, unit_stride, b, tile);
    case 3:
      return multiply_rows<3>(units, a, row_stride, unit_stride, b, tile);
    case 2:
      return multiply_rows<2>(units, a, row_stride, unit_stride, b, tile);
    default:
      return multiply_rows<1>(units, a, row_stride, unit_stride, b, tile);
  }
}

// 16 positions as floats; those that the mask leaves out are zero and not read.
template <DType type>
__m512 load_floats(const std::byte* p, __mmask16 mask) {
  if constexpr (type == DType::kF32) {
    return _mm512_maskz_loadu_ps(mask, p);
  } else {
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p)), 16));
  }
}

template <DType type>
void store_tile(const float* tile, size_t tile_ld, size_t rows, size_t cols, const Store& s) {
  constexpr size_t size = type == DType::kF32 ? 4 : 2;
  const __m512 scale = _mm512_set1_ps(s.scale);
  for (size_t i = 0; i < rows; ++i) {
    std::byte* out = static_cast<std::byte*>(s.out) + i * s.ld * size;
    const std::byte* addend =
        s.addend == nullptr ? nullptr : static_cast<const std::byte*>(s.addend) + i * s.addend_ld * size;
    for (size_t j = 0; j < cols; j += kLanes) {
      const __mmask16 mask = mask16(cols - j);
      __m512 v = _mm512_loadu_ps(tile + i * tile_ld + j);
      if (s.acc != nullptr) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, s.acc + i * s.acc_ld + j));
      if (addend != nullptr) v = _mm512_fmadd_ps(scale, load_floats<type>(addend + j * size, mask), v);
      if constexpr (type == DType::kF32) {
        _mm512_mask_storeu_ps(out + j * size, mask, v);
      } else {
        _mm256_mask_storeu_epi16(out + j * size, mask, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)));
      }
    }
  }
}

void store(const float* tile, size_t tile_ld, size_t rows, size_t cols, const Store& s) {
  if (s.dtype == DType::kF32)
    store_tile<DType::kF32>(tile, tile_ld, rows, cols, s);
  else
    store_tile<DType::kBf16>(tile, tile_ld, rows, cols, s);
}

// 16 positions as bf16 bits.
template <DType type>
__m256i load_bf16(const std::byte* p, __mmask16 mask) {
  if constexpr (type == DType::kF32) {
    return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, p)));
  } else {
    return _mm256_maskz_loadu_epi16(mask, p);
  }
}

template <DType type>
void pack_lines_of(uint32_t* to, size_t to_ld, Source from, size_t lines, size_t k) {
  constexpr size_t size = type == DType::kF32 ? 4 : 2;
  for (size_t l = 0; l < lines; ++l) {
    const std::byte* p = from.at(l, 0);
    uint32_t* units = to + l * to_ld;
    for (size_t i = 0; i < k; i += kLanes) {
      // Eight units; the mask counts units, so that an odd k's partner is stored as zero.
      const size_t left = k - i;
      const __mmask8 mask = left >= kLanes ? __mmask8(0xff) : __mmask8((1u << ((left + 1) / 2)) - 1u);
      _mm256_mask_storeu_epi32(units + i / 2, mask, load_bf16<type>(p + i * size, mask16(left)));
    }
  }
}

void pack_lines(uint32_t* to, size_t to_ld, Source from, size_t lines, size_t k, bool) {
  if (from.dtype == DType::kF32)
    pack_lines_of<DType::kF32>(to, to_ld, from, lines, k);
  else
    pack_lines_of<DType::kBf16>(to, to_ld, from, lines, k);
}

// Pairs of positions of two lines: unit j = (even[j], odd[j]).
__m512i interleave(__m256i even, __m256i odd) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

template <DType type>
void pack_across_of(uint32_t* to, size_t width, size_t panel, Source from, size_t k, size_t cols) {
  constexpr size_t size = type == DType::kF32 ? 4 : 2;
  const size_t units = (k + 1) / 2, lines_on = lines_ahead(cols * size);
  const size_t padded = (cols + width - 1) / width * width;
  for (size_t u = 0; u < units; ++u) {
    const std::byte* even = from.at(2 * u, 0);
    const bool has_odd = 2 * u + 1 < k;
    const std::byte* odd = has_odd ? from.at(2 * u + 1, 0) : even;
    const std::byte* ahead = from.at(2 * u + lines_on + 1 < k ? 2 * u + lines_on : 2 * u, 0);
    for (size_t j = 0; j < padded; j += kLanes) {
      if (j * size % 64 == 0) {
        _mm_prefetch(ahead + j * size, _MM_HINT_T0);
        _mm_prefetch(ahead + from.ld * size + j * size, _MM_HINT_T0);
      }
      const __mmask16 mask = j < cols ? mask16(cols - j) : __mmask16(0);
      const __m512i v = interleave(load_bf16<type>(even + j * size, mask),
                                   load_bf16<type>(odd + j * size, has_odd ? mask : __mmask16(0)));
      if (width == kRows) {
        uint32_t* p = to + j / kRows * panel + u * kRows;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(v));
        if (j + kRows < padded)
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + panel), _mm512_extracti64x4_epi64(v, 1));
      } else {
        _mm512_storeu_si512(to + j / width * panel + u * width + j % width, v);
      }
    }
  }
}

void pack_across(uint32_t* to, size_t width, size_t panel, Source from, size_t k, size_t cols, bool) {
  if (from.dtype == DType::kF32)
    pack_across_of<DType::kF32>(to, width, panel, from, k, cols);
  else
    pack_across_of<DType::kBf16>(to, width, panel, from, k, cols);
}

constexpr Kernels kKernels{kRows, kColumns, 2, DType::kBf16, multiply, store, pack_lines, pack_across};

}  // namespace

const Kernels& bf16_kernels() { return kKernels; }

}  // namespace fathom::gemm_detail

#pragma GCC pop_options
