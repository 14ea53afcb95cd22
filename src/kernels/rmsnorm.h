#pragma once
// RMSNorm with a constant scale: LayerNorm Scaling's 1/sqrt(l) enters here, for forward and backward alike.

#include <cstddef>

namespace fathom {

/// y = scale * x * rstd * weight, rstd = 1 / sqrt(mean(x^2) + eps).
/// Shapes: x, y (rows, C); weight (C); rstd (rows), kept for backward, which also reads x: y must not alias
/// x. S is the stream's type (double or float), Y the output's (double; float or bf16 for S = float).
/// Sources: Zhang & Sennrich 2019, arXiv:1910.07467; scale: Sun et al. 2025, arXiv:2502.05795, section 3.
template <class S, class Y>
void rmsnorm_forward(Y* y, S* rstd, const S* x, const S* weight, S scale, S eps, size_t rows, size_t C);

/// dx (= or, with accumulate, +=) scale * rstd * (weight dy - x rstd^2 mean(weight dy x));  dweight += sum
/// scale dy x rstd. dweight may be null. dx may alias dy. Sums over rows run in fixed blocks: same bits
/// whatever the number of threads.
template <class S>
void rmsnorm_backward(S* dx, bool accumulate, S* dweight, const S* dy, const S* x, const S* weight,
                      const S* rstd, S scale, size_t rows, size_t C);

template <class S, class Y>
void rmsnorm_forward_ref(Y* y, S* rstd, const S* x, const S* weight, S scale, S eps, size_t rows, size_t C);
template <class S>
void rmsnorm_backward_ref(S* dx, bool accumulate, S* dweight, const S* dy, const S* x, const S* weight,
                          const S* rstd, S scale, size_t rows, size_t C);

}  // namespace fathom
