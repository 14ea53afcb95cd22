#include "kernels/vector_ops.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "core/profile.h"
#include "core/threads.h"
#include "kernels/column_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/vector_ops.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

// Each works on one piece, on one thread.

void residual_add_range(float* out, const float* x, const float* y, float alpha, size_t n) {
  const V32 a = hn::Set(F32(), alpha);
  for (size_t i = 0; i < n; i += kLanes)
    store_n(hn::MulAdd(a, load_n(x + i, n - i), load_n(y + i, n - i)), out + i, n - i);
}

void scaled_copy_range(float* out, const float* x, float alpha, size_t n) {
  const V32 a = hn::Set(F32(), alpha);
  for (size_t i = 0; i < n; i += kLanes) store_n(hn::Mul(a, load_n(x + i, n - i)), out + i, n - i);
}

void gain_rows(float* y, const float* x, const float* gain, size_t rows, size_t C) {
  for (size_t r = 0; r < rows; ++r, x += C, y += C) {
    for (size_t i = 0; i < C; i += kLanes)
      store_n(hn::Mul(load_n(gain + i, C - i), load_n(x + i, C - i)), y + i, C - i);
  }
}

// dx = gain dy, and sum (C) += the rows of dy x. dx may be dy.
void gain_backward_rows(float* dx, float* sum, const float* dy, const float* x, const float* gain,
                        size_t rows, size_t C) {
  for (size_t r = 0; r < rows; ++r, dx += C, dy += C, x += C) {
    for (size_t i = 0; i < C; i += kLanes) {
      const size_t n = C - i;
      const V32 slope = load_n(dy + i, n);
      store_n(hn::MulAdd(slope, load_n(x + i, n), load_n(sum + i, n)), sum + i, n);
      store_n(hn::Mul(load_n(gain + i, n), slope), dx + i, n);
    }
  }
}

template <class W>
void bias_rows(W* x, const float* bias, size_t rows, size_t stride, size_t C) {
  for (size_t r = 0; r < rows; ++r, x += stride) {
    for (size_t i = 0; i < C; i += kLanes)
      store_n(hn::Add(load_n(x + i, C - i), load_n(bias + i, C - i)), x + i, C - i);
  }
}

// sum (C) += the rows of x.
template <class W>
void add_rows(float* sum, const W* x, size_t rows, size_t stride, size_t C) {
  for (size_t r = 0; r < rows; ++r, x += stride) {
    for (size_t i = 0; i < C; i += kLanes)
      store_n(hn::Add(load_n(x + i, C - i), load_n(sum + i, C - i)), sum + i, C - i);
  }
}

template <class To, class From>
void convert_range(To* to, const From* from, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store_n(load_n(from + i, n - i), to + i, n - i);
}

double sum_squares_range(const float* x, size_t n) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> narrow;
  const size_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d), sum1 = sum0;  // two, to hide the latency of an addition
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto a = hn::PromoteTo(d, hn::LoadU(narrow, x + i));
    const auto b = hn::PromoteTo(d, hn::LoadU(narrow, x + i + lanes));
    sum0 = hn::MulAdd(a, a, sum0);
    sum1 = hn::MulAdd(b, b, sum1);
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
  for (; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

// Index of the first vector that holds a NaN or an infinity (an exponent of all ones), or n.
size_t first_non_finite_vector(const float* x, size_t n) {
  const U32 d;
  const auto exponent = hn::Set(d, 0x7f800000u);
  for (size_t i = 0; i < n; i += kLanes) {
    const auto bits = hn::BitCast(d, load_n(x + i, n - i));
    if (!hn::AllFalse(d, hn::Eq(hn::And(bits, exponent), exponent))) return i;
  }
  return n;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS

#if HWY_ONCE
namespace fathom {
namespace {

// Elements a chunk of a plain pass: 16 Ki floats are 64 KiB, so that a chunk costs more than handing it out.
constexpr size_t kGrain = 16384;

}  // namespace

template <class S>
void residual_add(S* out, const S* x, const S* y, S alpha, size_t n) {
  const ProfileScope scope("residual", 0, static_cast<double>(3 * n * sizeof(S)));
  if (!use_simd<S>()) return residual_add_ref(out, x, y, alpha, n);
  if constexpr (std::is_same_v<S, float>) {
    const auto range = FATHOM_SIMD(residual_add_range);
    parallel_ranges(n, kGrain, [&](size_t begin, size_t end) {
      range(out + begin, x + begin, y + begin, alpha, end - begin);
    });
  }
}

template <class S>
void scaled_copy(S* out, const S* x, S alpha, size_t n) {
  const ProfileScope scope("residual", 0, static_cast<double>(2 * n * sizeof(S)));
  if (!use_simd<S>()) return scaled_copy_ref(out, x, alpha, n);
  if constexpr (std::is_same_v<S, float>) {
    const auto range = FATHOM_SIMD(scaled_copy_range);
    parallel_ranges(n, kGrain,
                    [&](size_t begin, size_t end) { range(out + begin, x + begin, alpha, end - begin); });
  }
}

template <class S>
void gain_forward(S* y, const S* x, const S* gain, size_t rows, size_t C) {
  const ProfileScope scope("gain", 0, static_cast<double>(2 * rows * C * sizeof(S)));
  if (!use_simd<S>()) return gain_forward_ref(y, x, gain, rows, C);
  if constexpr (std::is_same_v<S, float>) {
    const auto some_rows = FATHOM_SIMD(gain_rows);
    parallel_ranges(rows, kSumRows, [&](size_t begin, size_t end) {
      some_rows(y + begin * C, x + begin * C, gain, end - begin, C);
    });
  }
}

template <class S>
void gain_backward(S* dx, S* dgain, const S* dy, const S* x, const S* gain, size_t rows, size_t C) {
  const ProfileScope scope("gain", 0, static_cast<double>(3 * rows * C * sizeof(S)));
  if (!use_simd<S>()) return gain_backward_ref(dx, dgain, dy, x, gain, rows, C);
  if constexpr (std::is_same_v<S, float>) {
    if (dgain == nullptr) return gain_forward(dx, dy, gain, rows, C);
    const auto some_rows = FATHOM_SIMD(gain_backward_rows);
    add_column_sums(dgain, rows, C, [&](float* partial, size_t begin, size_t end) {
      some_rows(dx + begin * C, partial, dy + begin * C, x + begin * C, gain, end - begin, C);
    });
  }
}

template <class W>
void bias_forward(W* x, const Stream<W>* bias, size_t rows, size_t stride, size_t C) {
  const ProfileScope scope("bias", 0, static_cast<double>(2 * rows * C * sizeof(W)));
  if (!use_simd<W>()) return bias_forward_ref(x, bias, rows, stride, C);
  if constexpr (!std::is_same_v<W, double>) {
    const auto some_rows = FATHOM_SIMD(bias_rows<W>);
    parallel_ranges(rows, kSumRows, [&](size_t begin, size_t end) {
      some_rows(x + begin * stride, bias, end - begin, stride, C);
    });
  }
}

template <class W>
void bias_backward(Stream<W>* dbias, const W* dx, size_t rows, size_t stride, size_t C) {
  const ProfileScope scope("bias", 0, static_cast<double>(rows * C * sizeof(W)));
  if (!use_simd<W>()) return bias_backward_ref(dbias, dx, rows, stride, C);
  if constexpr (!std::is_same_v<W, double>) {
    const auto some_rows = FATHOM_SIMD(add_rows<W>);
    add_column_sums(dbias, rows, C, [&](float* partial, size_t begin, size_t end) {
      some_rows(partial, dx + begin * stride, end - begin, stride, C);
    });
  }
}

template <class To, class From>
void convert(To* to, const From* from, size_t n) {
  constexpr bool kHasDouble = std::is_same_v<To, double> || std::is_same_v<From, double>;
  if (kHasDouble || !use_simd<To>()) return convert_ref(to, from, n);
  if constexpr (!kHasDouble) {
    const auto range = FATHOM_SIMD(convert_range<To, From>);
    parallel_ranges(n, kGrain,
                    [&](size_t begin, size_t end) { range(to + begin, from + begin, end - begin); });
  }
}

template <class S>
double sum_squares(const S* x, size_t n) {
  const ProfileScope scope("gradient norm", 0, static_cast<double>(n * sizeof(S)));
  if constexpr (std::is_same_v<S, float>) {
    if (use_simd<S>()) {
      const auto range = FATHOM_SIMD(sum_squares_range);
      std::vector<double> partial((n + kGrain - 1) / kGrain);
      parallel_ranges(n, kGrain, [&](size_t begin, size_t end) {
        partial[begin / kGrain] = range(x + begin, end - begin);
      });
      double sum = 0;
      for (double p : partial) sum += p;
      return sum;
    }
  }
  return sum_squares_ref(x, n);
}

template <class S>
size_t first_non_finite(const S* x, size_t n) {
  if constexpr (std::is_same_v<S, float>) {
    if (use_simd<S>()) {
      const size_t start = FATHOM_SIMD(first_non_finite_vector)(x, n);
      return start + first_non_finite_ref(x + start, n - start);
    }
  }
  return first_non_finite_ref(x, n);
}

#define FATHOM_INSTANTIATE(S)                                                        \
  template void residual_add(S*, const S*, const S*, S, size_t);                     \
  template void scaled_copy(S*, const S*, S, size_t);                                \
  template void gain_forward(S*, const S*, const S*, size_t, size_t);                \
  template void gain_backward(S*, S*, const S*, const S*, const S*, size_t, size_t); \
  template double sum_squares(const S*, size_t);                                     \
  template size_t first_non_finite(const S*, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
#undef FATHOM_INSTANTIATE
#define FATHOM_INSTANTIATE(W)                                               \
  template void bias_forward(W*, const Stream<W>*, size_t, size_t, size_t); \
  template void bias_backward(Stream<W>*, const W*, size_t, size_t, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE
template void convert(bf16*, const float*, size_t);
template void convert(float*, const float*, size_t);
template void convert(float*, const bf16*, size_t);
template void convert(double*, const float*, size_t);
template void convert(float*, const double*, size_t);
template void convert(double*, const double*, size_t);

}  // namespace fathom
#endif  // HWY_ONCE
