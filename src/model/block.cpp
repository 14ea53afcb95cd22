#include "model/block.h"

#include <cstring>

#include "core/profile.h"
#include "core/threads.h"
#include "kernels/attention.h"
#include "kernels/gemm_epilogues.h"
#include "kernels/head_norm.h"
#include "model/block_lora.h"
#include "model/block_products.h"
#include "model/block_steps.h"

namespace fathom {
namespace {

// What the adapters' products add to: the same groups, and the single outputs.
AdaptedOutputs qkv_outputs(const ModelConfig& c) {
  return {{{Projection::kQ, c.q_size(), 0},
           {Projection::kK, c.kv_size(), c.q_size()},
           {Projection::kV, c.kv_size(), c.q_size() + c.kv_size()}},
          3};
}
AdaptedOutputs gate_up_outputs(const ModelConfig& c) {
  const size_t F = c.intermediate_size;
  return {{{Projection::kGate, F, 0}, {Projection::kUp, F, F}}, 2};
}
AdaptedOutputs output_of(Projection projection, const ModelConfig& c) {
  return {{{projection, c.hidden_size, 0}}, 1};
}

template <class W>
AttentionShape attention_shape(const BlockContext<W>& context) {
  const ModelConfig& c = *context.config;
  AttentionShape shape{};
  shape.B = context.B;
  shape.Tq = context.T;
  shape.Tk = context.position + context.T;
  shape.NH = c.num_attention_heads;
  shape.NKV = c.num_key_value_heads;
  shape.HS = c.head_dim;
  shape.q_stride = c.qkv_size();
  shape.kv_stride = c.qkv_size();
  shape.kv_batch_stride = context.T * c.qkv_size();
  shape.q_start = context.position;
  shape.first_key = context.first_key;
  shape.scale = c.attention_scale();
  shape.softcap = c.attention_softcap;
  return shape;
}

HeadNormShape head_norm_shape(const ModelConfig& c, size_t rows, size_t heads) {
  const size_t width = c.qk_norm == QkNorm::kHead ? c.head_dim : heads * c.head_dim;
  return {rows, c.qkv_size(), heads * c.head_dim / width, width};
}

// qkv (rows, Q + 2 KV), queries and keys rotated; false, and nothing done, where something comes between the
// product and the rotation, or the rows' positions are not those of a batch.
template <class W>
bool rotated_queries_and_keys(MatrixIn input, const LayerWeights<W>& w, BlockSaved<W>& saved,
                              const BlockContext<W>& context) {
  const ModelConfig& c = *context.config;
  const size_t C = c.hidden_size;
  const Group<const W> group = qkv_group(c, w.q, w.k, w.v, w.packed.qkv);
  if (c.qk_norm != QkNorm::kNone || w.q_bias != nullptr || w.k_bias != nullptr || w.v_bias != nullptr ||
      c.lora.rank > 0 || !context.segments.empty() || !group.contiguous(C))
    return false;
  const ProfileScope scope(kQkv.forward);
  gemm_rope<W>(
      saved.qkv, context.rows(), c.qkv_size(), C, input, group.whole(C),
      {c.num_attention_heads + c.num_key_value_heads, c.head_dim, context.T, context.position, context.rope});
  return true;
}

// Queries and keys from projections to what the scores are made of: bias, norm, rotation.
template <class W>
void prepare_queries_and_keys(const LayerWeights<W>& w, BlockSaved<W>& saved,
                              const BlockContext<W>& context) {
  using S = Stream<W>;
  const ModelConfig& c = *context.config;
  const size_t rows = context.rows(), ld = c.qkv_size();
  W *q = saved.qkv, *k = q + c.q_size(), *v = k + c.kv_size();
  const S *q_bias = w.q_bias, *k_bias = w.k_bias;
  if (c.qk_norm != QkNorm::kNone) {
    if (q_bias != nullptr) bias_forward(q, q_bias, rows, ld, c.q_size());
    if (k_bias != nullptr) bias_forward(k, k_bias, rows, ld, c.kv_size());
    q_bias = k_bias = nullptr;
    const S eps = static_cast<S>(c.rms_norm_eps);
    head_norm_forward(q, saved.q_raw, saved.rstd_q, w.q_norm, eps,
                      head_norm_shape(c, rows, c.num_attention_heads));
    head_norm_forward(k, saved.k_raw, saved.rstd_k, w.k_norm, eps,
                      head_norm_shape(c, rows, c.num_key_value_heads));
  }
  const auto rotate = [&](W* x, size_t heads, const S* bias) {
    if (context.segments.empty())
      return rope(x, rows, ld, heads, c.head_dim, context.T, context.position, *context.rope, false, bias);
    parallel_for(context.segments.size(), [&](size_t i) {
      const Segment& s = context.segments[i];
      rope(x + s.row * ld, s.length, ld, heads, c.head_dim, s.length, s.position, *context.rope, false, bias);
    });
  };
  if (q_bias == nullptr && k_bias == nullptr) {  // side by side in the rows: one pass
    rotate(q, c.num_attention_heads + c.num_key_value_heads, nullptr);
  } else {
    rotate(q, c.num_attention_heads, q_bias);
    rotate(k, c.num_key_value_heads, k_bias);
  }
  if (w.v_bias != nullptr) bias_forward(v, w.v_bias, rows, ld, c.kv_size());
}

// The way back from what was rotated: dq and dk in place, gradients of biases and norms added.
template <class W>
void prepare_backward(W* dqkv, const LayerWeights<W>& w, const LayerGradients<Stream<W>>* g,
                      const BlockSaved<W>& saved, const BlockContext<W>& context) {
  const ModelConfig& c = *context.config;
  const size_t rows = context.rows(), ld = c.qkv_size(), Q = c.q_size();
  W *dq = dqkv, *dk = dq + Q, *dv = dk + c.kv_size();
  if (c.qk_norm != QkNorm::kNone) {
    head_norm_backward(dq, g != nullptr ? g->q_norm : nullptr, saved.q_raw, saved.rstd_q, w.q_norm,
                       head_norm_shape(c, rows, c.num_attention_heads));
    head_norm_backward(dk, g != nullptr ? g->k_norm : nullptr, saved.k_raw, saved.rstd_k, w.k_norm,
                       head_norm_shape(c, rows, c.num_key_value_heads));
  }
  if (g == nullptr) return;
  if (g->q_bias != nullptr) bias_backward(g->q_bias, dq, rows, ld, Q);
  if (g->k_bias != nullptr) bias_backward(g->k_bias, dk, rows, ld, c.kv_size());
  if (g->v_bias != nullptr) bias_backward(g->v_bias, dv, rows, ld, c.kv_size());
}

// Appends this pass's keys and values to the cache.
template <class W>
void append_to_cache(const W* qkv, const BlockContext<W>& context) {
  const ModelConfig& c = *context.config;
  const size_t kv = c.kv_size();
  for (size_t b = 0; b < context.B; ++b) {
    for (size_t t = 0; t < context.T; ++t) {
      const W* row = qkv + (b * context.T + t) * c.qkv_size() + c.q_size();
      const size_t at = (b * context.cache->capacity + context.position + t) * kv;
      std::memcpy(context.cache->k + at, row, kv * sizeof(W));
      std::memcpy(context.cache->v + at, row + kv, kv * sizeof(W));
    }
  }
}

template <class W>
void attention_sublayer(MatrixIn input, Stream<W>* y, Addend addend, const LayerWeights<W>& w,
                        BlockSaved<W>& saved, const BlockContext<W>& context) {
  const ModelConfig& c = *context.config;
  const size_t rows = context.rows(), C = c.hidden_size;
  W *q = saved.qkv, *k = q + c.q_size(), *v = k + c.kv_size();
  if (!rotated_queries_and_keys(input, w, saved, context)) {
    group_forward(kQkv, saved.qkv, input, qkv_group(c, w.q, w.k, w.v, w.packed.qkv), rows, C);
    adapters_forward<W>(saved.qkv, c.qkv_size(), input, w, saved, qkv_outputs(c), rows, C, c.lora);
    prepare_queries_and_keys(w, saved, context);
  }

  AttentionShape shape = attention_shape(context);
  if (!context.segments.empty()) {
    segment_attention(saved, context);
  } else if (context.cache == nullptr) {
    attention_forward(saved.attn_out, saved.lse, q, k, v, shape);
  } else {
    append_to_cache(saved.qkv, context);
    shape.kv_stride = c.kv_size();
    shape.kv_batch_stride = context.cache->capacity * c.kv_size();
    attention_forward<W>(saved.attn_out, saved.lse, q, context.cache->k, context.cache->v, shape);
  }
  output_forward(kO, y, saved.attn_out, w.o, w.packed.o, addend, rows, c.q_size(), C);
  adapters_forward<W>(y, C, {saved.attn_out, dtype_of<W>(), c.q_size()}, w, saved,
                      output_of(Projection::kO, c), rows, c.q_size(), c.lora);
}

template <class W>
void attention_sublayer_backward(const Stream<W>* dy, Stream<W>* dinput, Addend addend, MatrixIn input,
                                 const LayerWeights<W>& w, const LayerGradients<Stream<W>>* g,
                                 const BlockSaved<W>& saved, BlockScratch<W>& scratch,
                                 const BlockContext<W>& context) {
  using S = Stream<W>;
  const ModelConfig& c = *context.config;
  const size_t rows = context.rows(), C = c.hidden_size, Q = c.q_size();
  // y = attn_out Wo^T
  output_backward<W>(kO, scratch.dattn_out, g != nullptr ? g->o : nullptr, context.fresh_gradients, dy,
                     saved.attn_out, w.o, w.packed.o, rows, Q, C);
  adapters_backward<W>(scratch.dattn_out, scratch.dlora, dy, C, {saved.attn_out, dtype_of<W>(), Q}, w, g,
                       saved, output_of(Projection::kO, c), rows, Q, c.lora);

  const W *q = saved.qkv, *k = q + Q, *v = k + c.kv_size();
  W *dq = scratch.dqkv, *dk = dq + Q, *dv = dk + c.kv_size();
  attention_backward_before_rope<W>(dq, dk, dv, scratch.dattn_out, saved.attn_out, saved.lse, q, k, v,
                                    attention_shape(context), *context.rope);
  prepare_backward(scratch.dqkv, w, g, saved, context);
  Group<S> dweights{};
  if (g != nullptr) dweights = qkv_group(c, g->q, g->k, g->v);
  group_backward(kQkv, dinput, addend, dweights, context.fresh_gradients, scratch.dqkv, input,
                 qkv_group(c, w.q, w.k, w.v, w.packed.qkv), rows, C);
  adapters_backward<W>(dinput, scratch.dlora, scratch.dqkv, c.qkv_size(), input, w, g, saved, qkv_outputs(c),
                       rows, C, c.lora);
}

template <class W>
void mlp_sublayer(MatrixIn input, Stream<W>* y, Addend addend, const LayerWeights<W>& w, BlockSaved<W>& saved,
                  const BlockContext<W>& context) {
  const ModelConfig& c = *context.config;
  const size_t rows = context.rows(), C = c.hidden_size, F = c.intermediate_size;
  const Group<const W> group = gate_up_group(c, w.gate, w.up, w.packed.gate_up);
  if (context.forward_only && c.lora.rank == 0 && group.contiguous(C)) {
    const ProfileScope scope(kGateUp.forward);
    gemm_swiglu<W>(saved.act, saved.gate_up, rows, F, C, input, group.whole(C), c.activation);
  } else {
    group_forward(kGateUp, saved.gate_up, input, group, rows, C);
    adapters_forward<W>(saved.gate_up, 2 * F, input, w, saved, gate_up_outputs(c), rows, C, c.lora);
    swiglu_forward(saved.act, saved.gate_up, rows, F, c.activation);
  }
  output_forward(kDown, y, saved.act, w.down, w.packed.down, addend, rows, F, C);
  adapters_forward<W>(y, C, {saved.act, dtype_of<W>(), F}, w, saved, output_of(Projection::kDown, c), rows, F,
                      c.lora);
}

template <class W>
void mlp_sublayer_backward(const Stream<W>* dy, Stream<W>* dinput, Addend addend, MatrixIn input,
                           const LayerWeights<W>& w, const LayerGradients<Stream<W>>* g,
                           const BlockSaved<W>& saved, BlockScratch<W>& scratch,
                           const BlockContext<W>& context) {
  using S = Stream<W>;
  const ModelConfig& c = *context.config;
  const size_t rows = context.rows(), C = c.hidden_size, F = c.intermediate_size;
  // y = act Wdown^T
  output_backward<W>(kDown, scratch.dact, g != nullptr ? g->down : nullptr, context.fresh_gradients, dy,
                     saved.act, w.down, w.packed.down, rows, F, C);
  adapters_backward<W>(scratch.dact, scratch.dlora, dy, C, {saved.act, dtype_of<W>(), F}, w, g, saved,
                       output_of(Projection::kDown, c), rows, F, c.lora);
  swiglu_backward(scratch.dgate_up, scratch.dact, saved.gate_up, rows, F, c.activation);
  Group<S> dweights{};
  if (g != nullptr) dweights = gate_up_group(c, g->gate, g->up);
  group_backward(kGateUp, dinput, addend, dweights, context.fresh_gradients, scratch.dgate_up, input,
                 gate_up_group(c, w.gate, w.up, w.packed.gate_up), rows, C);
  adapters_backward<W>(dinput, scratch.dlora, scratch.dgate_up, 2 * F, input, w, g, saved, gate_up_outputs(c),
                       rows, C, c.lora);
}

// What the sublayer read: the normed input, or the stream itself.
template <class W>
MatrixIn input_of(const StepPlan& plan, const StepSaved<W>& saved, size_t C) {
  if (plan.norm_in) return {saved.h, dtype_of<W>(), C};
  return {saved.x, dtype_of<Stream<W>>(), C};
}

template <class W>
StepSaved<W> take_step_saved(Arena& arena, const StepPlan& plan, size_t rows, size_t C) {
  using S = Stream<W>;
  StepSaved<W> s;
  if (plan.norm_in) {
    s.h = arena.take<W>(rows * C);
    s.rstd_in = arena.take<S>(rows);
  }
  if (plan.norm_out || plan.gain) s.y = arena.take<S>(rows * C);
  if (plan.norm_out) s.rstd_out = arena.take<S>(rows);
  if (plan.norm_sum) {
    s.sum = arena.take<S>(rows * C);
    s.rstd_sum = arena.take<S>(rows);
  }
  return s;
}

}  // namespace

template <class W>
BlockSaved<W> take_block_saved(Arena& arena, const ModelConfig& c, const StepPlan& plan, size_t rows) {
  using S = Stream<W>;
  BlockSaved<W> s;
  s.attn = take_step_saved<W>(arena, plan, rows, c.hidden_size);
  s.mlp = take_step_saved<W>(arena, plan, rows, c.hidden_size);
  s.middle = arena.take<S>(rows * c.hidden_size);
  s.qkv = arena.take<W>(rows * c.qkv_size());
  s.attn_out = arena.take<W>(rows * c.q_size());
  s.lse = arena.take<S>(rows * c.num_attention_heads);
  if (c.qk_norm != QkNorm::kNone) {
    s.q_raw = arena.take<W>(rows * c.q_size());
    s.k_raw = arena.take<W>(rows * c.kv_size());
    s.rstd_q = arena.take<S>(rows * c.q_size() / c.q_norm_size());
    s.rstd_k = arena.take<S>(rows * c.kv_size() / c.k_norm_size());
  }
  s.gate_up = arena.take<W>(rows * 2 * c.intermediate_size);
  s.act = arena.take<W>(rows * c.intermediate_size);
  for (const Projection p : kAllProjections) {
    if (c.lora.has(p)) s.lora[static_cast<size_t>(p)] = arena.take<S>(rows * c.lora.rank);
  }
  return s;
}

template <class W>
BlockScratch<W> take_block_scratch(Arena& arena, const ModelConfig& c, size_t rows) {
  using S = Stream<W>;
  BlockScratch<W> s;
  s.dh = arena.take<S>(rows * c.hidden_size);
  s.dy = arena.take<S>(rows * c.hidden_size);
  s.dqkv = arena.take<W>(rows * c.qkv_size());
  s.dattn_out = arena.take<W>(rows * c.q_size());
  s.dgate_up = arena.take<W>(rows * 2 * c.intermediate_size);
  s.dact = arena.take<W>(rows * c.intermediate_size);
  if (c.lora.rank > 0) s.dlora = arena.take<S>(rows * c.lora.rank);
  return s;
}

template <class W>
void block_forward(Stream<W>* x_out, const Stream<W>* x, const LayerPlan& plan, const LayerWeights<W>& w,
                   BlockSaved<W>& saved, const BlockContext<W>& context, LayerPart part) {
  using S = Stream<W>;
  const size_t rows = context.rows(), C = context.config->hidden_size;
  const double eps = context.config->rms_norm_eps;
  if (part == LayerPart::kWithoutAttention) {
    step_without_sublayer<W>(saved.middle, x, plan.step, w.attn, saved.attn, rows, C, eps);
  } else {
    step_forward<W>(saved.middle, x, plan.step, w.attn, saved.attn, rows, C, eps,
                    [&](MatrixIn input, S* y, Addend addend) {
                      attention_sublayer(input, y, addend, w, saved, context);
                    });
  }
  if (part == LayerPart::kWithoutMlp) {
    step_without_sublayer<W>(x_out, saved.middle, plan.step, w.mlp, saved.mlp, rows, C, eps);
  } else {
    step_forward<W>(
        x_out, saved.middle, plan.step, w.mlp, saved.mlp, rows, C, eps,
        [&](MatrixIn input, S* y, Addend addend) { mlp_sublayer(input, y, addend, w, saved, context); });
  }
}

template <class W>
void block_backward(Stream<W>* dx, const LayerPlan& plan, const LayerWeights<W>& w,
                    const LayerGradients<Stream<W>>* g, const BlockSaved<W>& saved, BlockScratch<W>& scratch,
                    const BlockContext<W>& context) {
  using S = Stream<W>;
  const size_t rows = context.rows(), C = context.config->hidden_size;
  step_backward<W>(dx, plan.step, w.mlp, g != nullptr ? g->mlp : StepVectors<S>{}, saved.mlp, scratch, rows,
                   C, [&](const S* dy, S* dinput, Addend addend) {
                     mlp_sublayer_backward(dy, dinput, addend, input_of(plan.step, saved.mlp, C), w, g, saved,
                                           scratch, context);
                   });
  step_backward<W>(dx, plan.step, w.attn, g != nullptr ? g->attn : StepVectors<S>{}, saved.attn, scratch,
                   rows, C, [&](const S* dy, S* dinput, Addend addend) {
                     attention_sublayer_backward(dy, dinput, addend, input_of(plan.step, saved.attn, C), w, g,
                                                 saved, scratch, context);
                   });
}

#define FATHOM_INSTANTIATE(W)                                                                               \
  template BlockSaved<W> take_block_saved<W>(Arena&, const ModelConfig&, const StepPlan&, size_t);          \
  template BlockScratch<W> take_block_scratch<W>(Arena&, const ModelConfig&, size_t);                       \
  template void block_forward<W>(Stream<W>*, const Stream<W>*, const LayerPlan&, const LayerWeights<W>&,    \
                                 BlockSaved<W>&, const BlockContext<W>&, LayerPart);                        \
  template void block_backward<W>(Stream<W>*, const LayerPlan&, const LayerWeights<W>&,                     \
                                  const LayerGradients<Stream<W>>*, const BlockSaved<W>&, BlockScratch<W>&, \
                                  const BlockContext<W>&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
