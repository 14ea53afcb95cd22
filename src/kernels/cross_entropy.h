#pragma once
// Softmax cross-entropy fused with the output head: logits are made for some rows at a time, turned into the
// loss and into their own gradient in place, and used up, so that the (rows, V) logits of a batch are never
// stored.

#include <cstddef>
#include <cstdint>

#include "core/types.h"
#include "kernels/gemm.h"

namespace fathom {

/// A target that is not scored (padding): its nll is 0 and it has no gradient.
constexpr int32_t kIgnoredTarget = -1;

/// Rows of logits made at a time, at the least, and what their number is a multiple of.
constexpr size_t kHeadChunkRows = 256;

/// Rows of logits made at a time: 256, 512 or 1024, as many as 128 MiB hold. Each chunk packs the head (V x
/// C) for its products, and reads and writes the head's gradient, so that on AMX four chunks of 256 rows took
/// twice the time of one of 1024.
constexpr size_t head_chunk_rows(size_t V) {
  size_t rows = 4 * kHeadChunkRows;
  while (rows > kHeadChunkRows && rows * V > (size_t{32} << 20)) rows /= 2;
  return rows;
}

/// What turns the normed stream into logits.
template <class W>
struct OutputHead {
  const W* weight;      ///< (V, C)
  size_t C, V;          ///< hidden size, vocabulary
  double softcap = 0;   ///< Where it is not 0, the logits go through softcap.h (Gemma 2).
  PackedWeight packed;  ///< of the weight
};

/// nll (rows) = -log softmax(x head^T)[target], in nats.
/// Shapes: x (rows, C); targets (rows), in [0, V) or kIgnoredTarget.
template <class W>
void head_loss_forward(double* nll, const W* x, const OutputHead<W>& head, const int32_t* targets,
                       size_t rows);

/// The gradient of the head's weight (V, C): null where it is not wanted; written, in place of added to,
/// where it is fresh.
template <class S>
struct HeadGradient {
  S* weight = nullptr;
  bool fresh = false;
};

/// The same, and with it: dx (rows, C) = and dhead += the gradients of grad_scale * sum(nll).
template <class W>
void head_loss_backward(double* nll, Stream<W>* dx, HeadGradient<Stream<W>> dhead, const W* x,
                        const OutputHead<W>& head, const int32_t* targets, Stream<W> grad_scale, size_t rows);

/// One row's loss from its logits (V), and, where `gradient` is set, logits <- grad_scale * (softmax -
/// onehot(target)). Target kIgnoredTarget: returns 0, gradient 0.
template <class S>
double softmax_nll_row(S* logits, int32_t target, bool gradient, S grad_scale, size_t V);

template <class S>
double softmax_nll_row_ref(S* logits, int32_t target, bool gradient, S grad_scale, size_t V);

}  // namespace fathom
