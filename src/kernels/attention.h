#pragma once
// Causal attention with grouped key/value heads, in O(T) memory: scores are made and used block by block and
// never stored, forward or backward (Dao et al. 2022, arXiv:2205.14135; backward recomputes them from lse).

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "core/types.h"
#include "kernels/rope.h"

namespace fathom {

/// Sizes and strides. Query head h reads key/value head h / (NH / NKV). Element (b, t, h, i) of q is
/// q[(b * Tq + t) * q_stride + h * HS + i]; of k and v: [b * kv_batch_stride + t * kv_stride + h * HS + i];
/// out (B, Tq, NH * HS) is dense. Query t of a sequence sees the keys j with first_key[b * Tq + t] <= j <=
/// q_start + t (first_key null: 0), so that a KV cache passes q_start = keys before the first query, Tk =
/// q_start + Tq. Preconditions: NH is a multiple of NKV; in bf16 HS is a multiple of 8; Tk >= q_start + Tq; 0
/// <= first_key[b * Tq + t] <= q_start + t, so that each query sees a key.
struct AttentionShape {
  size_t B, Tq, Tk, NH, NKV, HS;
  size_t q_stride, kv_stride, kv_batch_stride;
  size_t q_start = 0;
  const int32_t* first_key = nullptr;  ///< (B, Tq), or null. Document masks and sliding windows.
  double scale = 0;  ///< Factor of the scores; 0: 1 / sqrt(HS). Gemma 2 has a number of its own.
  double softcap =
      0;  ///< c: scores become c tanh(score / c) (Gemma 2, arXiv:2408.00118, section 2); 0: none.
  /// Goes by blocks even where few queries would be faster row by row: a query's result then has the same
  /// bits whatever the number of queries.
  bool in_blocks = false;

  double score_scale() const { return scale > 0 ? scale : 1.0 / std::sqrt(static_cast<double>(HS)); }
};

/// out = softmax(scores) v, scores = scale q k^T, capped where softcap is set; lse (B, NH, Tq) = log-sum-exp
/// of the scores, kept for backward.
/// NaN and infinity reach all that they should, and may reach more: blocks are multiplied whole, where what a
/// query does not see has weight 0, and 0 * NaN is NaN. So the v of a key may spoil queries that do not see
/// it, if one of their block of 64 queries sees one of the key's block of 128 (at multiples of these);
/// backward, between such blocks, the q and dout of a query its dk and dv, and the k of a key its dq. The
/// scores of others, and so lse, stay clean. The references spoil nothing else.
template <class W>
void attention_forward(W* out, Stream<W>* lse, const W* q, const W* k, const W* v,
                       const AttentionShape& shape);

/// dq, dk, dv (strides as q, k, v; all overwritten) from dout, out (both dense) and lse. Needs Tk == Tq,
/// q_start == 0.
template <class W>
void attention_backward(W* dq, W* dk, W* dv, const W* dout, const W* out, const Stream<W>* lse, const W* q,
                        const W* k, const W* v, const AttentionShape& shape);

/// The same where q and k had been rotated by their positions in the sequence: followed by rope's inverse,
/// bit for bit, on each head's dq and dk while they are near.
template <class W>
void attention_backward_before_rope(W* dq, W* dk, W* dv, const W* dout, const W* out, const Stream<W>* lse,
                                    const W* q, const W* k, const W* v, const AttentionShape& shape,
                                    const RopeTable<Stream<W>>& rotated_by);

/// Bytes that each thread keeps after both passes over T positions, with the instruction set in force; at
/// most.
size_t attention_scratch_bytes(DType type, size_t T, size_t NH, size_t HS, bool softcap);
/// And those that the calling thread keeps for all.
size_t attention_shared_bytes(DType type, size_t B, size_t T, size_t NH, size_t NKV, size_t HS, bool softcap);

template <class W>
void attention_forward_ref(W* out, Stream<W>* lse, const W* q, const W* k, const W* v,
                           const AttentionShape& shape);
template <class W>
void attention_backward_ref(W* dq, W* dk, W* dv, const W* dout, const W* out, const Stream<W>* lse,
                            const W* q, const W* k, const W* v, const AttentionShape& shape);

}  // namespace fathom
