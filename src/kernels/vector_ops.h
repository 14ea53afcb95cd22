#pragma once
// Passes over vectors: the residual sum, LayerScale, type conversion, biases, sums of squares.
// Sums run in blocks of fixed size, in order: same bits whatever the number of threads.

#include <cstddef>

#include "core/types.h"

namespace fathom {

/// out = alpha * x + y (n elements); out may alias x or y.
template <class S>
void residual_add(S* out, const S* x, const S* y, S alpha, size_t n);

/// out = alpha * x.
template <class S>
void scaled_copy(S* out, const S* x, S alpha, size_t n);

/// y (rows, C) = gain (C) * x (rows, C). y may alias x.  LayerScale: Touvron et al. 2021, arXiv:2103.17239.
template <class S>
void gain_forward(S* y, const S* x, const S* gain, size_t rows, size_t C);

/// dx = gain * dy; dgain += sum over rows of dy * x. dgain may be null; dx may alias dy.
template <class S>
void gain_backward(S* dx, S* dgain, const S* dy, const S* x, const S* gain, size_t rows, size_t C);

/// x (rows, C), rows `stride` apart, += bias (C).
template <class W>
void bias_forward(W* x, const Stream<W>* bias, size_t rows, size_t stride, size_t C);

/// dbias (C) += sum over rows of dx (rows, C), rows `stride` apart.
template <class W>
void bias_backward(Stream<W>* dbias, const W* dx, size_t rows, size_t stride, size_t C);

/// to = from, rounded to the target's type.
template <class To, class From>
void convert(To* to, const From* from, size_t n);

/// Sum of squares in double.
template <class S>
double sum_squares(const S* x, size_t n);

/// Index of the first element that is NaN or infinite, or n.
template <class S>
size_t first_non_finite(const S* x, size_t n);

// The same by plain loops, on one thread, in the order of the elements.
template <class S>
void residual_add_ref(S* out, const S* x, const S* y, S alpha, size_t n);
template <class S>
void scaled_copy_ref(S* out, const S* x, S alpha, size_t n);
template <class S>
void gain_forward_ref(S* y, const S* x, const S* gain, size_t rows, size_t C);
template <class S>
void gain_backward_ref(S* dx, S* dgain, const S* dy, const S* x, const S* gain, size_t rows, size_t C);
template <class W>
void bias_forward_ref(W* x, const Stream<W>* bias, size_t rows, size_t stride, size_t C);
template <class W>
void bias_backward_ref(Stream<W>* dbias, const W* dx, size_t rows, size_t stride, size_t C);
template <class To, class From>
void convert_ref(To* to, const From* from, size_t n);
template <class S>
double sum_squares_ref(const S* x, size_t n);
template <class S>
size_t first_non_finite_ref(const S* x, size_t n);

}  // namespace fathom
