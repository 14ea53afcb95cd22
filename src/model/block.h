#pragma once
// One transformer layer, forward and backward, for every scheme and every use: training, probing, evaluation
// and generation run this code over views of one layer's weights.
//
// The layer is two steps, attention and MLP, each wired by its StepPlan (norm_scheme.h):
//   h = norm_in ? in_scale N_in(x) : x;  y = F(h);  y = norm_out ? N_out(y) : gain ? g y : y;  s = residual x
//   + y; x' = norm_sum ? N_sum(s) : s

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/arena.h"
#include "kernels/rope.h"
#include "model/config.h"
#include "model/segments.h"
#include "model/weights.h"

namespace fathom {

/// Keys and values of earlier positions of one layer: (B, capacity, NKV * HS) each.
template <class W>
struct LayerCache {
  W* k = nullptr;
  W* v = nullptr;
  size_t capacity = 0;
};

/// What a layer needs to know about the batch. Rows are B * T, sequence by sequence.
template <class W>
struct BlockContext {
  const ModelConfig* config;
  size_t B, T;
  const RopeTable<Stream<W>>* rope;    ///< at least position + T positions; of this layer's kind
  const int32_t* first_key = nullptr;  ///< (B, T): first key position that a query sees; null: 0
  size_t position = 0;                 ///< of the first token of each sequence; above 0 only with a cache
  const LayerCache<W>* cache = nullptr;
  std::span<const Segment> segments = {};  ///< where not empty: what the rows are, instead of B and T
  /// Whether the projections' gradients are written, in place of being added to what is there.
  bool fresh_gradients = false;
  /// No backward pass follows: of the MLP's gate and up projections nothing is kept.
  bool forward_only = false;

  size_t rows() const { return B * T; }
};

/// What a step's forward keeps for its backward. Null members are not needed by the plan.
template <class W>
struct StepSaved {
  const Stream<W>* x = nullptr;  ///< (rows, C) the stream before the step; not owned
  W* h = nullptr;                ///< (rows, C) normed input
  Stream<W>* rstd_in = nullptr;  ///< (rows)
  Stream<W>* y = nullptr;        ///< (rows, C) the sublayer's output, where norm_out or gain follows
  Stream<W>* rstd_out = nullptr;
  Stream<W>* sum = nullptr;  ///< (rows, C) s, where norm_sum follows
  Stream<W>* rstd_sum = nullptr;
};

/// What a layer's forward keeps for its backward.
template <class W>
struct BlockSaved {
  StepSaved<W> attn, mlp;
  Stream<W>* middle = nullptr;  ///< (rows, C) the stream between the steps
  W* qkv = nullptr;             ///< (rows, (NH + 2 NKV) HS), rotated
  W* attn_out = nullptr;        ///< (rows, NH HS)
  Stream<W>* lse = nullptr;     ///< (B, NH, T)
  W *q_raw = nullptr,
    *k_raw = nullptr;  ///< (rows, NH HS), (rows, NKV HS) before the QK-norm, where there is one
  Stream<W>*rstd_q = nullptr, *rstd_k = nullptr;  ///< (rows, groups) of the QK-norm
  W* gate_up = nullptr;                           ///< (rows, 2F)
  W* act = nullptr;                               ///< (rows, F)
  std::array<Stream<W>*, kProjections> lora{};    ///< (rows, r) scale * A x of each adapter
};

template <class W>
BlockSaved<W> take_block_saved(Arena& arena, const ModelConfig& config, const StepPlan& plan, size_t rows);

/// Scratch that all layers' backward passes share.
template <class W>
struct BlockScratch {
  Stream<W>* dh = nullptr;     ///< (rows, C)
  Stream<W>* dy = nullptr;     ///< (rows, C)
  W* dqkv = nullptr;           ///< (rows, (NH + 2 NKV) HS)
  W* dattn_out = nullptr;      ///< (rows, NH HS)
  W* dgate_up = nullptr;       ///< (rows, 2F)
  W* dact = nullptr;           ///< (rows, F)
  Stream<W>* dlora = nullptr;  ///< (rows, r), where there are adapters
};

template <class W>
BlockScratch<W> take_block_scratch(Arena& arena, const ModelConfig& config, size_t rows);

/// What of a layer runs. A sublayer that is left out contributes nothing to its step, whose y is 0 then: the
/// stream stays as it is under every scheme with x' = residual x + y, and the post-type ones keep their norm,
/// x' = N_sum(residual x), because the layers above were trained on a normed stream.
enum class LayerPart { kWhole, kWithoutAttention, kWithoutMlp };

/// x_out (rows, C) = the layer applied to x (rows, C). Fills `saved`, which keeps a pointer to x. x_out must
/// not alias x. block_backward goes with kWhole alone.
template <class W>
void block_forward(Stream<W>* x_out, const Stream<W>* x, const LayerPlan& plan,
                   const LayerWeights<W>& weights, BlockSaved<W>& saved, const BlockContext<W>& context,
                   LayerPart part = LayerPart::kWhole);

/// dx (rows, C): on entry the gradient of x_out, on exit that of x. Weight gradients are added to `gradients`
/// (see BlockContext::fresh_gradients) where it is not null (null: a vector-Jacobian product alone); of
/// tensors whose gradient is null, which are frozen, none is computed.
template <class W>
void block_backward(Stream<W>* dx, const LayerPlan& plan, const LayerWeights<W>& weights,
                    const LayerGradients<Stream<W>>* gradients, const BlockSaved<W>& saved,
                    BlockScratch<W>& scratch, const BlockContext<W>& context);

/// The constants of a live step, measured, not read back from the plan: random signs go through the step's
/// own code. `in_scale`, `out_scale`, `sum_scale` are what each norm multiplies a unit-variance input by, its
/// gain divided out and eps corrected for; `residual` is the stream's factor. A norm that the step lacks
/// reports 0. `gain` is the mean of the step's gain over the columns (LayerScale). See design: No silent
/// failure.
struct MeasuredStep {
  double in_scale = 0, out_scale = 0, sum_scale = 0, residual = 0, gain = 0;
};
template <class W>
MeasuredStep measure_step(const StepPlan& plan, const StepVectors<const Stream<W>>& vectors,
                          const ModelConfig& config);

}  // namespace fathom
