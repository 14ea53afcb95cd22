#include "kernels/vector_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/threads.h"

namespace fathom {
namespace {

// Elements a chunk of a plain pass: 16 Ki floats are 64 KiB, so that a chunk costs more than handing it out.
constexpr size_t kGrain = 16384;
// Rows a partial sum: fixes the order of additions whatever the number of threads.
constexpr size_t kRowBlock = 64;

// dsum (C) += sum over rows of term(r, i), summed within blocks of kRowBlock rows and then over blocks, in
// order.
template <class S, class Term>
void add_column_sums(S* dsum, size_t rows, size_t C, const Term& term) {
  const size_t blocks = (rows + kRowBlock - 1) / kRowBlock;
  std::vector<S> partial(blocks * C, S(0));
  parallel_for(blocks, [&](size_t b) {
    S* sum = partial.data() + b * C;
    for (size_t r = b * kRowBlock; r < std::min(rows, (b + 1) * kRowBlock); ++r) {
      for (size_t i = 0; i < C; ++i) sum[i] += term(r, i);
    }
  });
  for (size_t b = 0; b < blocks; ++b) {
    for (size_t i = 0; i < C; ++i) dsum[i] += partial[b * C + i];
  }
}

}  // namespace

template <class S>
void residual_add(S* out, const S* x, const S* y, S alpha, size_t n) {
  parallel_ranges(n, kGrain, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) out[i] = alpha * x[i] + y[i];
  });
}

template <class S>
void scaled_copy(S* out, const S* x, S alpha, size_t n) {
  parallel_ranges(n, kGrain, [&](size_t begin, size_t end) {
    if (alpha == S(1)) {
      std::memmove(out + begin, x + begin, (end - begin) * sizeof(S));
    } else {
      for (size_t i = begin; i < end; ++i) out[i] = alpha * x[i];
    }
  });
}

template <class S>
void gain_forward(S* y, const S* x, const S* gain, size_t rows, size_t C) {
  parallel_ranges(rows, kRowBlock, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      for (size_t i = 0; i < C; ++i) y[r * C + i] = gain[i] * x[r * C + i];
    }
  });
}

template <class S>
void gain_backward(S* dx, S* dgain, const S* dy, const S* x, const S* gain, size_t rows, size_t C) {
  if (dgain != nullptr)
    add_column_sums(dgain, rows, C, [&](size_t r, size_t i) { return dy[r * C + i] * x[r * C + i]; });
  gain_forward(dx, dy, gain, rows, C);
}

template <class W>
void bias_forward(W* x, const Stream<W>* bias, size_t rows, size_t stride, size_t C) {
  parallel_ranges(rows, kRowBlock, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      for (size_t i = 0; i < C; ++i) x[r * stride + i] = W(Stream<W>(x[r * stride + i]) + bias[i]);
    }
  });
}

template <class W>
void bias_backward(Stream<W>* dbias, const W* dx, size_t rows, size_t stride, size_t C) {
  add_column_sums(dbias, rows, C, [&](size_t r, size_t i) { return Stream<W>(dx[r * stride + i]); });
}

template <class To, class From>
void convert(To* to, const From* from, size_t n) {
  parallel_ranges(n, kGrain, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) to[i] = To(static_cast<Stream<From>>(from[i]));
  });
}

template <class S>
double sum_squares(const S* x, size_t n) {
  const size_t blocks = (n + kGrain - 1) / kGrain;
  std::vector<double> partial(blocks);
  parallel_for(blocks, [&](size_t b) {
    double lanes[8] = {};  // independent sums, so that the loop is not bound by the latency of one addition
    const size_t begin = b * kGrain, end = std::min(n, begin + kGrain);
    size_t i = begin;
    for (; i + 8 <= end; i += 8) {
      for (size_t j = 0; j < 8; ++j)
        lanes[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
    }
    for (; i < end; ++i) lanes[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    for (double lane : lanes) partial[b] += lane;
  });
  double sum = 0;
  for (double p : partial) sum += p;
  return sum;
}

template <class S>
size_t first_non_finite(const S* x, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) return i;
  }
  return n;
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
