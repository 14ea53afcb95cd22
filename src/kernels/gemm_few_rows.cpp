// Products with few rows, as in generation, one token at a time: every weight is used `rows` times only, so
// that the speed is that of memory, and packing B would cost more than the product. The weights are streamed
// once, as they are, by all threads; floats under kBf16 are rounded as they are read.

#include <algorithm>

#include "core/buffer.h"
#include "core/threads.h"
#include "kernels/gemm_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_few_rows.cpp"
#include "kernels/gemm_targets.h"  // read by foreach_target.h

#include "hwy/foreach_target.h"
#include "kernels/gemm_float-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::gemm_detail {
namespace HWY_NAMESPACE {
namespace {

// Columns whose dot products run side by side: four independent sums hide the latency of one.
constexpr size_t kSideBySide = 4;

// Bytes of a line that are asked for ahead.
constexpr size_t kAhead = 2048;

// sums (R, kSideBySide) = x (R, K) times the lines b[0], b[1], ...; `x` is padded with zeros to whole
// vectors.
template <DType type, bool round, size_t R>
void dot_lines(const float* x, size_t x_ld, const std::byte* const* b, size_t K, float* sums) {
  const Floats d;
  V sum[R][kSideBySide];
#pragma GCC unroll 4
  for (size_t i = 0; i < R; ++i) {
#pragma GCC unroll 4
    for (size_t j = 0; j < kSideBySide; ++j) sum[i][j] = hn::Zero(d);
  }
  for_vectors(K, [&](size_t k, size_t n) HWY_ATTR {
    V x_k[R];
#pragma GCC unroll 4
    for (size_t i = 0; i < R; ++i) x_k[i] = hn::LoadU(d, x + i * x_ld + k);
#pragma GCC unroll 4
    for (size_t j = 0; j < kSideBySide; ++j) {
      const V b_jk = load_unit<type, round>(b[j] + k * dtype_size(type), n);
#pragma GCC unroll 4
      for (size_t i = 0; i < R; ++i) sum[i][j] = hn::MulAdd(x_k[i], b_jk, sum[i][j]);
    }
  });
#pragma GCC unroll 4
  for (size_t i = 0; i < R; ++i) {
#pragma GCC unroll 4
    for (size_t j = 0; j < kSideBySide; ++j)
      sums[i * kSideBySide + j] = hn::GetLane(hn::SumOfLanes(d, sum[i][j]));
  }
}

// sums (R, cols) = x (R, K) b (K, cols), b's lines running across K.
template <DType type, bool round, size_t R>
void add_lines(const float* x, size_t x_ld, Source b, size_t K, size_t cols, float* sums, size_t sums_ld) {
  const Floats d;
  for (size_t i = 0; i < R; ++i) {
    for (size_t j = 0; j < cols; ++j) sums[i * sums_ld + j] = 0.0f;
  }
  for (size_t k = 0; k < K; ++k) {
    const std::byte* line = b.at(k, 0);
    for_vectors(cols, [&](size_t j, size_t n) HWY_ATTR {
      const V b_kj = load_unit<type, round>(line + j * dtype_size(type), n);
#pragma GCC unroll 4
      for (size_t i = 0; i < R; ++i) {
        float* sum = sums + i * sums_ld + j;  // padded to whole vectors
        hn::StoreU(hn::MulAdd(hn::Set(d, x[i * x_ld + k]), b_kj, hn::LoadU(d, sum)), d, sum);
      }
    });
  }
}

template <DType type, bool round>
void dot_columns_of(size_t rows, const float* x, size_t x_ld, const std::byte* const* b, size_t K,
                    float* sums) {
  switch (rows) {
    case 4:
      return dot_lines<type, round, 4>(x, x_ld, b, K, sums);
    case 3:
      return dot_lines<type, round, 3>(x, x_ld, b, K, sums);
    case 2:
      return dot_lines<type, round, 2>(x, x_ld, b, K, sums);
    default:
      return dot_lines<type, round, 1>(x, x_ld, b, K, sums);
  }
}

template <DType type, bool round>
void add_columns_of(size_t rows, const float* x, size_t x_ld, Source b, size_t K, size_t cols, float* sums,
                    size_t sums_ld) {
  switch (rows) {
    case 4:
      return add_lines<type, round, 4>(x, x_ld, b, K, cols, sums, sums_ld);
    case 3:
      return add_lines<type, round, 3>(x, x_ld, b, K, cols, sums, sums_ld);
    case 2:
      return add_lines<type, round, 2>(x, x_ld, b, K, cols, sums, sums_ld);
    default:
      return add_lines<type, round, 1>(x, x_ld, b, K, cols, sums, sums_ld);
  }
}

void dot_columns(size_t rows, const float* x, size_t x_ld, Source b, size_t K, size_t cols, bool round,
                 float* sums, size_t sums_ld) {
  const auto dot = b.dtype == DType::kBf16 ? dot_columns_of<DType::kBf16, false>
                   : round                 ? dot_columns_of<DType::kF32, true>
                                           : dot_columns_of<DType::kF32, false>;
  // The next lines are asked for, into L2: the hardware's prefetchers follow a long line, and begin anew with
  // each.
  const size_t ahead = std::min(K * dtype_size(b.dtype), kAhead);
  for (size_t j = 0; j < cols; j += kSideBySide) {
    const std::byte* lines[kSideBySide];
    float four[kFewRows * kSideBySide];
    for (size_t s = 0; s < kSideBySide; ++s) lines[s] = b.at(j + s < cols ? j + s : cols - 1, 0);
    if (j + 2 * kSideBySide <= cols) {
      for (size_t s = 0; s < kSideBySide; ++s) {
        const std::byte* next = b.at(j + kSideBySide + s, 0);
        for (size_t byte = 0; byte < ahead; byte += 64) __builtin_prefetch(next + byte, 0, 2);
      }
    }
    dot(rows, x, x_ld, lines, K, four);
    for (size_t i = 0; i < rows; ++i) {
      for (size_t s = 0; s < kSideBySide && j + s < cols; ++s)
        sums[i * sums_ld + j + s] = four[i * kSideBySide + s];
    }
  }
}

void add_columns(size_t rows, const float* x, size_t x_ld, Source b, size_t K, size_t cols, bool round,
                 float* sums, size_t sums_ld) {
  const auto add = b.dtype == DType::kBf16 ? add_columns_of<DType::kBf16, false>
                   : round                 ? add_columns_of<DType::kF32, true>
                                           : add_columns_of<DType::kF32, false>;
  add(rows, x, x_ld, b, K, cols, sums, sums_ld);
}

}  // namespace

extern const FewRowsKernels kFewRowsKernels;
const FewRowsKernels kFewRowsKernels{dot_columns, add_columns};

}  // namespace HWY_NAMESPACE
}  // namespace fathom::gemm_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::gemm_detail {
namespace {

const FewRowsKernels& kernels_for(Isa isa) {
#if HWY_TARGETS & HWY_AVX3
  if (isa >= Isa::kAvx512) return N_AVX3::kFewRowsKernels;
#endif
#if HWY_TARGETS & HWY_AVX2
  if (isa >= Isa::kAvx2) return N_AVX2::kFewRowsKernels;
#endif
  static_cast<void>(isa);
  return HWY_STATIC_DISPATCH(kFewRowsKernels);
}

// Columns a task: a multiple of a cache line of bf16, and sums that fit L1 beside the line of B.
constexpr size_t kTaskColumns = 256;
// Weights a task, at least, where its lines are short: 32 Ki take some microseconds, more than handing it
// out.
constexpr size_t kTaskWeights = 32768;
// Widest vector, in floats: what reads and writes of whole vectors may touch past an end.
constexpr size_t kPad = 16;

float value_of(const Source& s, size_t line, size_t position, bool round) {
  float v;
  if (s.dtype == DType::kBf16) {
    bf16 b;
    __builtin_memcpy(&b, s.at(line, position), sizeof(b));
    return static_cast<float>(b);
  }
  __builtin_memcpy(&v, s.at(line, position), sizeof(v));
  return round ? static_cast<float>(bf16(v)) : v;
}

}  // namespace

GemmScratch few_rows_scratch(size_t K) { return {.shared = kFewRows * (K + kPad) * sizeof(float)}; }

void multiply_few_rows(Isa isa, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c,
                       Addend addend, bool round) {
  static thread_local Buffer<float> scratch;
  const size_t x_ld = K + kPad;
  float* x = ensure(scratch, kFewRows * x_ld);
  const Source from_a{static_cast<const std::byte*>(a.data), a.dtype, a.ld};
  for (size_t i = 0; i < M; ++i) {
    for (size_t k = 0; k < K; ++k)
      x[i * x_ld + k] = a.transposed ? value_of(from_a, k, i, round) : value_of(from_a, i, k, round);
    for (size_t k = K; k < x_ld; ++k) x[i * x_ld + k] = 0.0f;
  }
  const FewRowsKernels& kernels = kernels_for(isa);
  const Source from_b{static_cast<const std::byte*>(b.data), b.dtype, b.ld};
  const size_t wanted = kTaskWeights / K < 64 ? 64 : kTaskWeights / K;
  parallel_ranges(N, wanted < kTaskColumns ? wanted : kTaskColumns, [&](size_t begin, size_t end) {
    alignas(64) float sums[kFewRows * (kTaskColumns + kPad)];
    const size_t sums_ld = kTaskColumns + kPad, cols = end - begin;
    if (b.transposed) {
      kernels.dot_columns(M, x, x_ld, {from_b.at(begin, 0), b.dtype, b.ld}, K, cols, round, sums, sums_ld);
    } else {
      kernels.add_columns(M, x, x_ld, {from_b.at(0, begin), b.dtype, b.ld}, K, cols, round, sums, sums_ld);
    }
    const size_t size = dtype_size(c.dtype);
    const Store store{
        static_cast<std::byte*>(c.data) + begin * size,
        c.dtype,
        c.ld,
        nullptr,
        0,
        addend.data == nullptr ? nullptr : static_cast<const std::byte*>(addend.data) + begin * size,
        addend.ld,
        static_cast<float>(addend.scale)};
    float_kernels(isa).store(sums, sums_ld, M, cols, store);
  });
}

}  // namespace fathom::gemm_detail
#endif
