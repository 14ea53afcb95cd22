// The backward side of Transformer: training passes, a layer or the head by itself, vector-Jacobian products.

#include <cstring>

#include "core/error.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "model/transformer_workspace.h"

namespace fathom {

template <class W>
double Transformer<W>::forward_backward(const Batch& batch, Gradients<S>& gradients, double grad_scale,
                                        const TrainOptions& options, const Observer<S>& observer) {
  check(batch, 0);
  const auto kind = options.recompute ? Workspace::Kind::kRecompute : Workspace::Kind::kTraining;
  const size_t rows = batch.rows(), C = config_.hidden_size, L = plans_.size();
  const size_t first_layer = gradients.first_layer();
  if (!training_ || training_->rows != rows || training_->kind != kind ||
      training_->first_layer != first_layer) {
    training_.reset();
    training_ = std::make_unique<Workspace>(kind, config_, plans_, rows, false, first_layer);
  }
  Workspace& ws = *training_;
  const bool fresh = gradients.take_fresh();
  Contexts kinds = contexts(batch, 0);
  kinds.windowed.fresh_gradients = kinds.whole.fresh_gradients = fresh;
  const auto context_of = [&](size_t l) -> const BlockContext<W>& {
    return config_.has_window(l) ? kinds.windowed : kinds.whole;
  };
  const OuterWeights<W> outer = source_.outer();
  const OuterGradients<S> douter = gradients.outer();
  const S eps = static_cast<S>(config_.rms_norm_eps);

  // Forward.
  embed_tokens<W>(ws.streams[0], ws.raw_embedding, ws.embedding_rstd, source_, batch.tokens, rows, config_);
  if (observer) observer({TapPoint::kEmbedding, 0, nullptr, ws.streams[0]});
  for (size_t l = 0; l < L; ++l) {
    BlockSaved<W>& saved = ws.saved_for(l, config_, plans_);
    BlockContext<W> context = context_of(l);
    context.forward_only = options.recompute || l < first_layer;
    block_forward<W>(ws.streams[l + 1], ws.streams[l], plans_[l], source_.layer(l), saved, context);
    if (observer) {
      observer({TapPoint::kAttention, l, ws.streams[l], saved.middle});
      observer({TapPoint::kMlp, l, saved.middle, ws.streams[l + 1]});
    }
  }
  rmsnorm_forward(ws.normed, ws.rstd, ws.streams[L], outer.final_norm, S(1), eps, rows, C);

  // Loss and backward, in reverse order.
  std::vector<double> nll(rows);
  head_loss_backward<W>(nll.data(), ws.scratch.dh, {douter.head, fresh}, ws.normed, output_head(),
                        batch.targets, static_cast<S>(grad_scale), rows);
  rmsnorm_backward(ws.dx, false, douter.final_norm, ws.scratch.dh, ws.streams[L], outer.final_norm, ws.rstd,
                   S(1), rows, C);
  for (size_t l = L; l-- > first_layer;) {
    BlockSaved<W>& saved = ws.saved_for(l, config_, plans_);
    // Recompute: the forward of this layer once more, its output going where nothing is needed any longer.
    if (options.recompute) {
      block_forward<W>(ws.streams[l + 1], ws.streams[l], plans_[l], source_.layer(l), saved, context_of(l));
    }
    const LayerGradients<S> dlayer = gradients.layer(l);
    block_backward<W>(ws.dx, plans_[l], source_.layer(l), &dlayer, saved, ws.scratch, context_of(l));
  }
  if (douter.embedding != nullptr || douter.embed_norm != nullptr)
    embedding_gradients(ws, outer, douter, batch);

  double total = 0;
  for (const double v : nll) total += v;
  return total;
}

// ws.dx is the gradient of the stream that enters the first layer.
template <class W>
void Transformer<W>::embedding_gradients(Workspace& ws, const OuterWeights<W>& outer,
                                         const OuterGradients<S>& douter, const Batch& batch) {
  const size_t rows = batch.rows(), C = config_.hidden_size;
  if (outer.embed_norm != nullptr) {
    rmsnorm_backward(ws.dx, false, douter.embed_norm, ws.dx, ws.raw_embedding, outer.embed_norm,
                     ws.embedding_rstd, S(1), rows, C);
  }
  if (config_.embedding_scale != 1.0)
    scaled_copy(ws.dx, ws.dx, static_cast<S>(config_.embedding_scale), rows * C);
  if (douter.embedding != nullptr) embedding_backward(douter.embedding, ws.dx, batch.tokens, rows, C);
}

template <class W>
void Transformer<W>::head_backward(S* dx, double* nll, const S* x, const int32_t* targets, size_t rows,
                                   double grad_scale) {
  const size_t C = config_.hidden_size;
  Workspace& ws = linear_workspace(std::min(rows, kHeadRows));
  const OuterWeights<W> outer = source_.outer();
  const OutputHead<W> head = output_head();
  for (size_t r = 0; r < rows; r += kHeadRows) {
    const size_t n = std::min(kHeadRows, rows - r);
    rmsnorm_forward(ws.normed, ws.rstd, x + r * C, outer.final_norm, S(1),
                    static_cast<S>(config_.rms_norm_eps), n, C);
    head_loss_backward<W>(nll + r, ws.scratch.dh, {}, ws.normed, head, targets + r,
                          static_cast<S>(grad_scale), n);
    rmsnorm_backward<S>(dx + r * C, false, nullptr, ws.scratch.dh, x + r * C, outer.final_norm, ws.rstd, S(1),
                        n, C);
  }
}

template <class W>
void Transformer<W>::layer_backward(size_t layer, S* dx, const S* x, const Batch& batch,
                                    const LayerGradients<S>& gradients) {
  check(batch, 0);
  const size_t at_once = sequences_at_once(batch), C = config_.hidden_size;
  Workspace& ws = linear_workspace(at_once * batch.T);
  const Contexts kinds = contexts(batch, 0);
  const BlockContext<W>& context = config_.has_window(layer) ? kinds.windowed : kinds.whole;
  const LayerWeights<W> weights = source_.layer(layer);
  if (layer > 0) source_.prefetch(layer - 1);
  for (size_t b = 0; b < batch.B; b += at_once) {
    const BlockContext<W> part = part_of(context, b, std::min(at_once, batch.B - b));
    const size_t at = b * batch.T * C;
    BlockSaved<W>& saved = ws.saved_for(layer, config_, plans_);
    block_forward<W>(ws.dx, x + at, plans_[layer], weights, saved, part);
    block_backward<W>(dx + at, plans_[layer], weights, &gradients, saved, ws.scratch, part);
  }
}

template <class W>
void Transformer<W>::linearize(size_t layer, const S* x, const Batch& batch) {
  check(batch, 0);
  Workspace& ws = linear_workspace(batch.rows());
  ws.layer = layer;
  const Contexts kinds = contexts(batch, 0);
  ws.context = config_.has_window(layer) ? kinds.windowed : kinds.whole;
  std::memcpy(ws.streams[0], x, batch.rows() * config_.hidden_size * sizeof(S));
  block_forward<W>(ws.dx, ws.streams[0], plans_[layer], source_.layer(layer),
                   ws.saved_for(layer, config_, plans_), ws.context);
}

template <class W>
void Transformer<W>::vjp(S* dx) {
  if (!linearized_) fail("internal: vjp before linearize");
  Workspace& ws = *linearized_;
  // Another pass may have made longer tables since.
  ws.context.rope = local_rope_ && config_.has_window(ws.layer) ? local_rope_.get() : rope_.get();
  block_backward<W>(dx, plans_[ws.layer], source_.layer(ws.layer), nullptr, ws.shared, ws.scratch,
                    ws.context);
}

template <class W>
size_t Transformer<W>::training_bytes(const ModelConfig& config, size_t rows, const TrainOptions& options,
                                      size_t first_layer) {
  const auto kind = options.recompute ? Workspace::Kind::kRecompute : Workspace::Kind::kTraining;
  const auto plans = layer_plans(config.norm, config.num_hidden_layers);
  return Workspace(kind, config, plans, rows, true, first_layer).arena.peak();
}

#define FATHOM_INSTANTIATE(W, S)                                                                             \
  template double Transformer<W>::forward_backward(const Batch&, Gradients<S>&, double, const TrainOptions&, \
                                                   const Observer<S>&);                                      \
  template void Transformer<W>::head_backward(S*, double*, const S*, const int32_t*, size_t, double);        \
  template void Transformer<W>::layer_backward(size_t, S*, const S*, const Batch&,                           \
                                               const LayerGradients<S>&);                                    \
  template void Transformer<W>::linearize(size_t, const S*, const Batch&);                                   \
  template void Transformer<W>::vjp(S*);                                                                     \
  template size_t Transformer<W>::training_bytes(const ModelConfig&, size_t, const TrainOptions&, size_t);
FATHOM_INSTANTIATE(double, double)
FATHOM_INSTANTIATE(float, float)
FATHOM_INSTANTIATE(bf16, float)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
