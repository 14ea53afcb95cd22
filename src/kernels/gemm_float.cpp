// The float kernels, one source for every instruction set through Highway. They serve kF32 everywhere, and
// kBf16 where there is no bf16 product: operands are then rounded to bf16 while they are packed.

#include "kernels/gemm_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_float.cpp"
#include "kernels/gemm_targets.h"  // read by foreach_target.h

#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "kernels/gemm_float-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::gemm_detail {
namespace HWY_NAMESPACE {
namespace {

// AVX-512 has 32 registers: 8 x 3 accumulate, 3 hold B, 1 broadcasts A. The others have 16: 6 x 2 accumulate.
#if HWY_TARGET == HWY_AVX3
constexpr size_t kRows = 8, kVectors = 3;
#else
constexpr size_t kRows = 6, kVectors = 2;
#endif

constexpr size_t kColumns = kVectors * kLanes;
static_assert(kRows * kColumns <= kMaxTile);

template <size_t R>
HWY_INLINE void multiply_rows(size_t units, const std::byte* a, size_t row_stride, size_t unit_stride,
                              const float* b, float* tile) {
  const Floats d;
  V sum[R][kVectors];
#pragma GCC unroll 8
  for (size_t i = 0; i < R; ++i) {
#pragma GCC unroll 3
    for (size_t j = 0; j < kVectors; ++j) sum[i][j] = hn::Zero(d);
  }
  for (size_t u = 0; u < units; ++u) {
    V b_u[kVectors];
#pragma GCC unroll 3
    for (size_t j = 0; j < kVectors; ++j) b_u[j] = hn::LoadU(d, b + j * kLanes);
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) {
      float value;
      __builtin_memcpy(&value, a + i * row_stride, 4);
      const V a_iu = hn::Set(d, value);
#pragma GCC unroll 3
      for (size_t j = 0; j < kVectors; ++j) sum[i][j] = hn::MulAdd(a_iu, b_u[j], sum[i][j]);
    }
    a += unit_stride;
    b += kColumns;
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < R; ++i) {
#pragma GCC unroll 3
    for (size_t j = 0; j < kVectors; ++j) hn::StoreU(sum[i][j], d, tile + i * kColumns + j * kLanes);
  }
}

// Finds the instance for `rows` rows.
template <size_t R>
void multiply_dispatch(size_t rows, size_t units, const std::byte* a, size_t row_stride, size_t unit_stride,
                       const float* b, float* tile) {
  if constexpr (R > 1) {
    if (rows < R) return multiply_dispatch<R - 1>(rows, units, a, row_stride, unit_stride, b, tile);
  }
  multiply_rows<R>(units, a, row_stride, unit_stride, b, tile);
}

void multiply(size_t rows, size_t units, const std::byte* a, size_t row_stride, size_t unit_stride,
              const uint32_t* b, float* tile) {
  multiply_dispatch<kRows>(rows, units, a, row_stride, unit_stride, reinterpret_cast<const float*>(b), tile);
}

template <DType type>
void store_tile(const float* tile, size_t tile_ld, size_t rows, size_t cols, const Store& s) {
  constexpr size_t size = type == DType::kF32 ? 4 : 2;
  const Floats d;
  const V scale = hn::Set(d, s.scale);
  for (size_t i = 0; i < rows; ++i) {
    std::byte* out = static_cast<std::byte*>(s.out) + i * s.ld * size;
    const auto* acc = reinterpret_cast<const std::byte*>(s.acc == nullptr ? nullptr : s.acc + i * s.acc_ld);
    const std::byte* addend =
        s.addend == nullptr ? nullptr : static_cast<const std::byte*>(s.addend) + i * s.addend_ld * size;
    for_vectors(cols, [&](size_t j, size_t n) HWY_ATTR {
      V v = hn::LoadU(d, tile + i * tile_ld + j);
      if (acc != nullptr) v = hn::Add(v, load_part<DType::kF32>(acc + j * 4, n));
      if (addend != nullptr) v = hn::MulAdd(scale, load_part<type>(addend + j * size, n), v);
      save_part<type>(v, out + j * size, n);
    });
  }
}

void store(const float* tile, size_t tile_ld, size_t rows, size_t cols, const Store& s) {
  if (s.dtype == DType::kF32)
    store_tile<DType::kF32>(tile, tile_ld, rows, cols, s);
  else
    store_tile<DType::kBf16>(tile, tile_ld, rows, cols, s);
}

template <DType type, bool round>
void pack_lines_of(float* to, size_t to_ld, Source from, size_t lines, size_t k) {
  for (size_t l = 0; l < lines; ++l) {
    const std::byte* p = from.at(l, 0);
    float* line = to + l * to_ld;
    for_vectors(k, [&](size_t i, size_t n) HWY_ATTR {
      const V v = load_unit<type, round>(p + i * dtype_size(type), n);
      save_part<DType::kF32>(v, reinterpret_cast<std::byte*>(line + i), n);
    });
  }
}

HWY_INLINE void prefetch(const std::byte* p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) hwy::Prefetch(p + i);
}

template <DType type, bool round>
void pack_across_of(float* to, size_t width, size_t panel, Source from, size_t k, size_t cols) {
  constexpr size_t size = type == DType::kF32 ? 4 : 2;
  const Floats d;
  const size_t lines_on = lines_ahead(cols * size);
  // Lines outermost: each is read from end to end, as the hardware's prefetchers like it.
  for (size_t u = 0; u < k; ++u) {
    const std::byte* p = from.at(u, 0);
    if (u + lines_on < k) prefetch(from.at(u + lines_on, 0), cols * size);
    float* line = to + u * width;
    for (size_t first = 0; first < cols; first += width, line += panel) {
      const std::byte* piece = p + first * size;
      const size_t valid = cols - first < width ? cols - first : width;
      // Whole vectors, even where a panel is narrower than one: what they write past its line is overwritten
      // by the next, of which the last has none.
      if (u + 1 < k && first + (width + kLanes - 1) / kLanes * kLanes <= cols) {
        for (size_t j = 0; j < width; j += kLanes)
          hn::StoreU(load_unit<type, round>(piece + j * size, kLanes), d, line + j);
        continue;
      }
      for_vectors(valid, [&](size_t j, size_t n) HWY_ATTR {
        const V v = load_unit<type, round>(piece + j * size, n);
        save_part<DType::kF32>(v, reinterpret_cast<std::byte*>(line + j), n);
      });
      for (size_t j = valid; j < width; ++j) line[j] = 0.0f;
    }
  }
}

void pack_lines(uint32_t* to, size_t to_ld, Source from, size_t lines, size_t k, bool round) {
  const auto pack = from.dtype == DType::kBf16 ? pack_lines_of<DType::kBf16, false>
                    : round                    ? pack_lines_of<DType::kF32, true>
                                               : pack_lines_of<DType::kF32, false>;
  pack(reinterpret_cast<float*>(to), to_ld, from, lines, k);
}

void pack_across(uint32_t* to, size_t width, size_t panel, Source from, size_t k, size_t cols, bool round) {
  const auto pack = from.dtype == DType::kBf16 ? pack_across_of<DType::kBf16, false>
                    : round                    ? pack_across_of<DType::kF32, true>
                                               : pack_across_of<DType::kF32, false>;
  pack(reinterpret_cast<float*>(to), width, panel, from, k, cols);
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels{kRows, kColumns, 1, DType::kF32, multiply, store, pack_lines, pack_across};

}  // namespace HWY_NAMESPACE
}  // namespace fathom::gemm_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::gemm_detail {

const Kernels& float_kernels(Isa isa) {
#if HWY_TARGETS & HWY_AVX3
  if (isa >= Isa::kAvx512) return N_AVX3::kKernels;
#endif
#if HWY_TARGETS & HWY_AVX2
  if (isa >= Isa::kAvx2) return N_AVX2::kKernels;
#endif
  static_cast<void>(isa);
  return HWY_STATIC_DISPATCH(kKernels);
}

}  // namespace fathom::gemm_detail
#endif
