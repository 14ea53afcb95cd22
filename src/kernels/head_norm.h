#pragma once
// RMSNorm of queries or keys before their rotation (QK-norm), in place within the rows of a joint projection.
// Sources: Qwen3 (arXiv:2505.09388) and Gemma 3 (arXiv:2503.19786): each head by itself, one weight for all
// heads; OLMo 2 (arXiv:2501.00656): all heads of a row together.

#include <cstddef>

#include "core/types.h"

namespace fathom {

/// Where the vectors lie: row r, group g, number i is x[r * stride + g * width + i]. A head by itself is a
/// group of its width; all heads together are one group.
struct HeadNormShape {
  size_t rows, stride, groups, width;
};

/// x <- x * rstd * weight, rstd (rows, groups) = 1 / sqrt(mean(x^2) + eps) over each group; weight (width) is
/// shared by the groups. raw (rows, groups * width), dense, keeps x as it was, for backward; may be null, as
/// may rstd.
template <class W>
void head_norm_forward(W* x, W* raw, Stream<W>* rstd, const Stream<W>* weight, Stream<W> eps,
                       const HeadNormShape& shape);

/// dx (placed as x): gradient of the normed vectors on entry, of the raw ones on exit; dweight (width) += its
/// gradient, where it is not null. Sums over rows run in fixed blocks.
template <class W>
void head_norm_backward(W* dx, Stream<W>* dweight, const W* raw, const Stream<W>* rstd,
                        const Stream<W>* weight, const HeadNormShape& shape);

template <class W>
void head_norm_forward_ref(W* x, W* raw, Stream<W>* rstd, const Stream<W>* weight, Stream<W> eps,
                           const HeadNormShape& shape);
template <class W>
void head_norm_backward_ref(W* dx, Stream<W>* dweight, const W* raw, const Stream<W>* rstd,
                            const Stream<W>* weight, const HeadNormShape& shape);

}  // namespace fathom
