#include <cmath>

#include "kernels/vector_ops.h"

namespace fathom {

template <class S>
void residual_add_ref(S* out, const S* x, const S* y, S alpha, size_t n) {
  for (size_t i = 0; i < n; ++i) out[i] = alpha * x[i] + y[i];
}

template <class S>
void scaled_copy_ref(S* out, const S* x, S alpha, size_t n) {
  for (size_t i = 0; i < n; ++i) out[i] = alpha * x[i];
}

template <class S>
void gain_forward_ref(S* y, const S* x, const S* gain, size_t rows, size_t C) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < C; ++i) y[r * C + i] = gain[i] * x[r * C + i];
  }
}

template <class S>
void gain_backward_ref(S* dx, S* dgain, const S* dy, const S* x, const S* gain, size_t rows, size_t C) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < C; ++i) {
      const S d = dy[r * C + i];
      if (dgain != nullptr) dgain[i] += d * x[r * C + i];
      dx[r * C + i] = gain[i] * d;
    }
  }
}

template <class W>
void bias_forward_ref(W* x, const Stream<W>* bias, size_t rows, size_t stride, size_t C) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < C; ++i) x[r * stride + i] = W(Stream<W>(x[r * stride + i]) + bias[i]);
  }
}

template <class W>
void bias_backward_ref(Stream<W>* dbias, const W* dx, size_t rows, size_t stride, size_t C) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < C; ++i) dbias[i] += Stream<W>(dx[r * stride + i]);
  }
}

template <class To, class From>
void convert_ref(To* to, const From* from, size_t n) {
  for (size_t i = 0; i < n; ++i) to[i] = To(static_cast<Stream<From>>(from[i]));
}

template <class S>
double sum_squares_ref(const S* x, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

template <class S>
size_t first_non_finite_ref(const S* x, size_t n) {
  size_t i = 0;
  while (i < n && std::isfinite(x[i])) ++i;
  return i;
}

#define FATHOM_INSTANTIATE(S)                                                            \
  template void residual_add_ref(S*, const S*, const S*, S, size_t);                     \
  template void scaled_copy_ref(S*, const S*, S, size_t);                                \
  template void gain_forward_ref(S*, const S*, const S*, size_t, size_t);                \
  template void gain_backward_ref(S*, S*, const S*, const S*, const S*, size_t, size_t); \
  template double sum_squares_ref(const S*, size_t);                                     \
  template size_t first_non_finite_ref(const S*, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
#undef FATHOM_INSTANTIATE
#define FATHOM_INSTANTIATE(W)                                                   \
  template void bias_forward_ref(W*, const Stream<W>*, size_t, size_t, size_t); \
  template void bias_backward_ref(Stream<W>*, const W*, size_t, size_t, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE
template void convert_ref(bf16*, const float*, size_t);
template void convert_ref(float*, const float*, size_t);
template void convert_ref(float*, const bf16*, size_t);
template void convert_ref(double*, const float*, size_t);
template void convert_ref(float*, const double*, size_t);
template void convert_ref(double*, const double*, size_t);

}  // namespace fathom
