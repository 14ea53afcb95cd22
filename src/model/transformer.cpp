#include "model/transformer.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/threads.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/gemm.h"
#include "kernels/rmsnorm.h"
#include "kernels/softcap.h"
#include "kernels/vector_ops.h"

namespace fathom {

template <class S>
Program<S> whole_program(size_t num_layers) {
  return program_without<S>(num_layers, {});
}

template <class S>
Program<S> program_without(size_t num_layers, std::span<const size_t> removed) {
  Program<S> program;
  for (size_t l = 0; l < num_layers; ++l) {
    if (std::find(removed.begin(), removed.end(), l) == removed.end()) program.push_back({l, nullptr});
  }
  return program;
}

template <class W>
KvCache<W>::KvCache(const ModelConfig& config, size_t B, size_t capacity)
    : layer_size_(B * capacity * config.kv_size()),
      capacity_(capacity),
      k_(layer_size_ * config.num_hidden_layers),
      v_(layer_size_ * config.num_hidden_layers) {}

template <class W>
LayerCache<W> KvCache<W>::layer(size_t l) {
  return {k_.data() + l * layer_size_, v_.data() + l * layer_size_, capacity_};
}

// The memory of a pass. Laid out over an empty arena it is the forecast; over a real one it is the run.
template <class W>
struct Transformer<W>::Workspace {
  enum class Kind { kInference, kTraining, kRecompute, kLinearized };

  Workspace(Kind kind_, const ModelConfig& config, const std::vector<LayerPlan>& plans, size_t rows_,
            bool count_only, size_t first_layer_ = 0)
      : kind(kind_), rows(rows_), first_layer(first_layer_) {
    if (!count_only) {
      Arena counter;
      lay_out(counter, config, plans);
      arena = Arena(counter.peak());
    }
    lay_out(arena, config, plans);
  }

  void lay_out(Arena& a, const ModelConfig& c, const std::vector<LayerPlan>& plans) {
    const size_t n = rows * c.hidden_size, L = plans.size();
    const bool keep_all = kind == Kind::kTraining, keep_inputs = keep_all || kind == Kind::kRecompute;
    streams.clear();
    saved.clear();
    for (size_t l = 0; l < (keep_inputs ? L + 1 : 1); ++l) {
      // Below the first layer that is trained, inputs are not kept: two streams take turns.
      const bool passes = keep_inputs && l >= 2 && l < first_layer;
      streams.push_back(passes ? streams[l - 2] : a.take<S>(n));
    }
    saved.resize(keep_all ? L : 0);
    for (size_t l = first_layer; l < saved.size(); ++l)
      saved[l] = take_block_saved<W>(a, c, plans[l].step, rows);
    if (!keep_all || first_layer > 0) {
      // One layer at a time: room for whichever plan needs the most, laid out anew for each by saved_for().
      shared_begin = a.mark();
      for (const LayerPlan& plan : plans) {
        a.release(shared_begin);
        take_block_saved<W>(a, c, plan.step, rows);
      }
      a.release(a.peak());
    }
    normed = a.take<W>(n);
    rstd = a.take<S>(rows);
    if (has_embed_norm(c.norm.type)) {
      raw_embedding = a.take<S>(n);
      embedding_rstd = a.take<S>(rows);
    }
    if (kind != Kind::kInference) {
      dx = a.take<S>(n);
      scratch = take_block_scratch<W>(a, c, rows);
    }
  }

  BlockSaved<W>& saved_for(size_t l, const ModelConfig& c, const std::vector<LayerPlan>& plans) {
    if (kind == Kind::kTraining && l >= first_layer) return saved[l];
    const size_t end = arena.mark();
    arena.release(shared_begin);
    shared = take_block_saved<W>(arena, c, plans[l].step, rows);
    arena.release(end);
    return shared;
  }

  Kind kind;
  size_t rows;
  size_t first_layer;  // training: the lowest that a backward pass reaches
  Arena arena;
  std::vector<S*>
      streams;  // training: the input of each layer and the last output; otherwise one scratch stream
  std::vector<BlockSaved<W>> saved;  // training: of each layer
  BlockSaved<W> shared;              // otherwise: of the layer that runs
  size_t shared_begin = 0;
  W* normed = nullptr;  // (rows, C) final norm's output
  S* rstd = nullptr;
  S* raw_embedding = nullptr;  // (rows, C) before the embedding norm
  S* embedding_rstd = nullptr;
  S* dx = nullptr;
  BlockScratch<W> scratch;
  size_t layer = 0;  // linearized: which layer, and for what batch
  BlockContext<W> context{};
};

template <class W>
Transformer<W>::Transformer(const ModelConfig& config, WeightSource<W>& source)
    : config_(config), plans_(layer_plans(config.norm, config.num_hidden_layers)), source_(source) {}

template <class W>
Transformer<W>::~Transformer() = default;

template <class W>
void Transformer<W>::release() {
  inference_.reset();
  training_.reset();
  linearized_.reset();
  other_ = Buffer<S>();
  middle_ = Buffer<S>();
}

namespace {

size_t sequence_length(const Batch& batch) {
  return batch.segments.empty() ? batch.T : longest_sequence(batch.segments);
}

}  // namespace

template <class W>
void Transformer<W>::check(const Batch& batch, size_t position) const {
  const size_t length = position + sequence_length(batch);
  if (length > config_.max_position_embeddings) {
    fail("a sequence of " + std::to_string(length) + " tokens does not fit the model's context of " +
             std::to_string(config_.max_position_embeddings),
         "shorten it (--seq)");
  }
  const auto V = static_cast<int64_t>(config_.vocab_size);
  for (size_t i = 0; i < batch.rows(); ++i) {
    if (batch.tokens[i] < 0 || batch.tokens[i] >= V) {
      fail("token id " + std::to_string(batch.tokens[i]) + " is outside the vocabulary of " +
               std::to_string(V),
           "was the text tokenized for another model?");
    }
    if (batch.targets != nullptr && (batch.targets[i] < kIgnoredTarget || batch.targets[i] >= V)) {
      fail("target id " + std::to_string(batch.targets[i]) + " is outside the vocabulary of " +
           std::to_string(V));
    }
  }
}

template <class W>
typename Transformer<W>::Contexts Transformer<W>::contexts(const Batch& batch, size_t position) {
  const size_t needed = position + sequence_length(batch);
  if (!rope_ || rope_->positions < needed) {
    // A cache grows by one position a token: leave room, so that the table is not made anew each time.
    const size_t positions = position > 0 ? std::min(config_.max_position_embeddings, needed * 2) : needed;
    const auto table = [&](double theta, const RopeScaling& scaling) {
      return std::make_unique<RopeTable<S>>(positions, scaled_frequencies(config_.head_dim, theta, scaling));
    };
    rope_ = table(config_.rope_theta, config_.rope_scaling);
    if (config_.local_rope_theta > 0) local_rope_ = table(config_.local_rope_theta, RopeScaling{});
  }
  const BlockContext<W> whole{&config_,        batch.B,  batch.T, rope_.get(),
                              batch.first_key, position, nullptr, batch.segments};
  Contexts both{whole, whole};
  if (local_rope_) both.windowed.rope = local_rope_.get();
  if (config_.sliding_window > 0 && needed > config_.sliding_window)
    both.windowed.first_key = window_first_keys(batch, position);
  return both;
}

template <class W>
const int32_t* Transformer<W>::window_first_keys(const Batch& batch, size_t position) {
  first_key_.resize(batch.rows());
  const auto set = [&](size_t row, size_t last) {
    const auto window =
        static_cast<int32_t>(last + 1 > config_.sliding_window ? last + 1 - config_.sliding_window : 0);
    first_key_[row] = batch.first_key != nullptr ? std::max(window, batch.first_key[row]) : window;
  };
  if (batch.segments.empty()) {
    for (size_t i = 0; i < batch.rows(); ++i) set(i, position + i % batch.T);
  }
  for (const Segment& s : batch.segments) {
    for (size_t t = 0; t < s.length; ++t) set(s.row + t, s.position + t);
  }
  return first_key_.data();
}

template <class W>
typename Transformer<W>::Workspace& Transformer<W>::inference_workspace(size_t rows) {
  // A larger one serves: calls for fewer rows (the head, after the layers) must not make it anew each time.
  if (!inference_ || inference_->rows < rows) {
    inference_.reset();
    inference_ = std::make_unique<Workspace>(Workspace::Kind::kInference, config_, plans_, rows, false);
  }
  return *inference_;
}

template <class W>
typename Transformer<W>::Workspace& Transformer<W>::linear_workspace(size_t rows) {
  if (!linearized_ || linearized_->rows < rows) {
    linearized_.reset();
    linearized_ = std::make_unique<Workspace>(Workspace::Kind::kLinearized, config_, plans_, rows, false);
  }
  return *linearized_;
}

template <class W>
size_t Transformer<W>::sequences_at_once(const Batch& batch) const {
  if (rows_at_once_ == 0) return batch.B;
  return std::clamp<size_t>(rows_at_once_ / std::max<size_t>(1, batch.T), 1, batch.B);
}

// The context of `sequences` of the batch from number `first` on.
template <class W>
BlockContext<W> Transformer<W>::part_of(const BlockContext<W>& context, size_t first, size_t sequences) {
  BlockContext<W> part = context;
  part.B = sequences;
  if (part.first_key != nullptr) part.first_key += first * context.T;
  return part;
}

namespace {

// Rows that pass the head at a time. A constant, so that the head's own chunks fall on the same rows however
// the layers are run.
constexpr size_t kHeadRows = 8 * kHeadChunkRows;

// x = embedding of the tokens (rows); raw and rstd are kept where the embedding is normalized.
template <class W>
void embed_tokens(Stream<W>* x, Stream<W>* raw, Stream<W>* rstd, WeightSource<W>& source,
                  const int32_t* tokens, size_t rows, const ModelConfig& config) {
  using S = Stream<W>;
  const size_t C = config.hidden_size;
  const S* norm = source.outer().embed_norm;
  if (norm == nullptr) {
    source.embed(x, tokens, rows, C);
  } else {
    source.embed(raw, tokens, rows, C);
    rmsnorm_forward(x, rstd, raw, norm, S(1), static_cast<S>(config.rms_norm_eps), rows, C);
  }
  if (config.embedding_scale != 1.0) scaled_copy(x, x, static_cast<S>(config.embedding_scale), rows * C);
}

// x_out = x A + b, the columns' bias standing in for the rows' addend.
template <class W>
void linear_forward(Stream<W>* x_out, const Stream<W>* x, const LinearMap<Stream<W>>& map, size_t rows,
                    size_t C) {
  using S = Stream<W>;
  constexpr DType kS = dtype_of<S>();
  for (size_t r = 0; r < rows; ++r) std::copy(map.b.begin(), map.b.end(), x_out + r * C);
  // In the stream's own precision: the map is a stand-in for a layer and must not add rounding of its own.
  gemm(rows, C, C, {x, kS, C}, {map.A.data(), kS, C}, {x_out, kS, C}, kS, {x_out, C, 1.0});
}

}  // namespace

template <class W>
void Transformer<W>::embed(S* x, const Batch& batch, const Observer<S>& observer) {
  check(batch, 0);
  const size_t C = config_.hidden_size, part = sequences_at_once(batch) * batch.T;
  Workspace& ws = inference_workspace(std::min(part, batch.rows()));
  for (size_t r = 0; r < batch.rows(); r += part) {
    embed_tokens<W>(x + r * C, ws.raw_embedding, ws.embedding_rstd, source_, batch.tokens + r,
                    std::min(part, batch.rows() - r), config_);
  }
  if (observer) observer({TapPoint::kEmbedding, 0, nullptr, x});
}

// One step of a program over all rows, some sequences at a time. Observers see whole rows.
template <class W>
void Transformer<W>::run_layer(S* out, const S* in, const ProgramStep<S>& step,
                               const BlockContext<W>& context, const Observer<S>& observer, Workspace& ws) {
  const size_t l = step.layer, B = context.B, T = context.T, C = config_.hidden_size;
  const size_t at_once = std::min(B, std::max<size_t>(1, ws.rows / std::max<size_t>(1, T)));
  const bool whole = at_once == B;
  if (observer && !whole && middle_.size() < context.rows() * C) middle_ = Buffer<S>(context.rows() * C);
  const S* middle = middle_.data();
  const LayerWeights<W> weights = source_.layer(l);
  for (size_t b = 0; b < B; b += at_once) {
    const BlockContext<W> part = part_of(context, b, std::min(at_once, B - b));
    BlockSaved<W>& saved = ws.saved_for(l, config_, plans_);
    if (whole)
      middle = saved.middle;
    else if (observer)
      saved.middle = middle_.data() + b * T * C;
    block_forward<W>(out + b * T * C, in + b * T * C, plans_[l], weights, saved, part, step.part);
  }
  if (!observer) return;
  observer({TapPoint::kAttention, l, in, middle});
  observer({TapPoint::kMlp, l, middle, out});
}

template <class W>
void Transformer<W>::run(S* x, std::span<const ProgramStep<S>> program, const Batch& batch,
                         const Observer<S>& observer, KvCache<W>* cache) {
  const size_t position = cache != nullptr ? cache->length : 0;
  check(batch, position);
  if (cache != nullptr && position + batch.T > cache->capacity()) fail("internal: the KV cache is too small");
  const size_t rows = batch.rows(), C = config_.hidden_size;
  const size_t at_once = cache != nullptr ? batch.B : sequences_at_once(batch);
  Workspace& ws = inference_workspace(at_once * batch.T);
  Contexts kinds = contexts(batch, position);
  if (ws.rows < rows && other_.size() < rows * C) other_ = Buffer<S>(rows * C);
  S *in = x, *out = ws.rows < rows ? other_.data() : ws.streams[0];
  for (size_t i = 0; i < program.size(); ++i) {
    const ProgramStep<S>& step = program[i];
    if (step.linear != nullptr) {
      linear_forward<W>(out, in, *step.linear, rows, C);
      if (observer) observer({TapPoint::kMlp, step.layer, in, out});
    } else {
      BlockContext<W>& ctx = config_.has_window(step.layer) ? kinds.windowed : kinds.whole;
      LayerCache<W> layer_cache;
      if (cache != nullptr) {
        layer_cache = cache->layer(step.layer);
        ctx.cache = &layer_cache;
      }
      source_.layer(step.layer);  // before the next is announced: it may have to be read itself
      if (i + 1 < program.size() && program[i + 1].linear == nullptr) source_.prefetch(program[i + 1].layer);
      run_layer(out, in, step, ctx, observer, ws);
    }
    std::swap(in, out);
  }
  if (in != x) std::memcpy(x, in, rows * C * sizeof(S));
  if (cache != nullptr) cache->length += batch.T;
}

template <class W>
void Transformer<W>::logits(S* out, const S* x, size_t rows) {
  const size_t C = config_.hidden_size, V = config_.vocab_size;
  Workspace& ws = inference_workspace(std::min(rows, kHeadRows));
  const OuterWeights<W> outer = source_.outer();
  const W* head = source_.head();
  constexpr DType kW = dtype_of<W>();
  for (size_t r = 0; r < rows; r += kHeadRows) {
    const size_t n = std::min(kHeadRows, rows - r);
    rmsnorm_forward(ws.normed, ws.rstd, x + r * C, outer.final_norm, S(1),
                    static_cast<S>(config_.rms_norm_eps), n, C);
    gemm(n, V, C, {ws.normed, kW, C}, {head, kW, C, true}, {out + r * V, dtype_of<S>(), V}, kW);
  }
  if (config_.final_softcap > 0) {
    parallel_ranges(rows, 4, [&](size_t begin, size_t end) {
      softcap_forward(out + begin * V, static_cast<S>(config_.final_softcap), (end - begin) * V);
    });
  }
}

template <class W>
void Transformer<W>::losses(double* nll, const S* x, const int32_t* targets, size_t rows) {
  const size_t C = config_.hidden_size;
  Workspace& ws = inference_workspace(std::min(rows, kHeadRows));
  const OuterWeights<W> outer = source_.outer();
  const W* head = source_.head();
  for (size_t r = 0; r < rows; r += kHeadRows) {
    const size_t n = std::min(kHeadRows, rows - r);
    rmsnorm_forward(ws.normed, ws.rstd, x + r * C, outer.final_norm, S(1),
                    static_cast<S>(config_.rms_norm_eps), n, C);
    head_loss_forward(nll + r, ws.normed, head, targets + r, n, C, config_.vocab_size, config_.final_softcap);
  }
}

template <class W>
void Transformer<W>::forward(double* nll, const Batch& batch, const Observer<S>& observer) {
  Buffer<S> x(batch.rows() * config_.hidden_size);
  embed(x.data(), batch, observer);
  run(x.data(), whole_program<S>(plans_.size()), batch, observer);
  losses(nll, x.data(), batch.targets, batch.rows());
}

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
  const Contexts kinds = contexts(batch, 0);
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
    block_forward<W>(ws.streams[l + 1], ws.streams[l], plans_[l], source_.layer(l), saved, context_of(l));
    if (observer) {
      observer({TapPoint::kAttention, l, ws.streams[l], saved.middle});
      observer({TapPoint::kMlp, l, saved.middle, ws.streams[l + 1]});
    }
  }
  rmsnorm_forward(ws.normed, ws.rstd, ws.streams[L], outer.final_norm, S(1), eps, rows, C);

  // Loss and backward, in reverse order.
  std::vector<double> nll(rows);
  head_loss_backward<W>(nll.data(), ws.scratch.dh, douter.head, ws.normed, source_.head(), batch.targets,
                        static_cast<S>(grad_scale), rows, C, config_.vocab_size, config_.final_softcap);
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
  const W* head = source_.head();
  for (size_t r = 0; r < rows; r += kHeadRows) {
    const size_t n = std::min(kHeadRows, rows - r);
    rmsnorm_forward(ws.normed, ws.rstd, x + r * C, outer.final_norm, S(1),
                    static_cast<S>(config_.rms_norm_eps), n, C);
    head_loss_backward<W>(nll + r, ws.scratch.dh, nullptr, ws.normed, head, targets + r,
                          static_cast<S>(grad_scale), n, C, config_.vocab_size, config_.final_softcap);
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

template <class W>
size_t Transformer<W>::inference_bytes(const ModelConfig& config, size_t rows) {
  const auto plans = layer_plans(config.norm, config.num_hidden_layers);
  const size_t stream = rows * config.hidden_size * sizeof(S);
  return Workspace(Workspace::Kind::kInference, config, plans, rows, true).arena.peak() + stream;
}

#define FATHOM_INSTANTIATE(W) \
  template class KvCache<W>;  \
  template class Transformer<W>;
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE
template Program<double> whole_program<double>(size_t);
template Program<float> whole_program<float>(size_t);
template Program<double> program_without<double>(size_t, std::span<const size_t>);
template Program<float> program_without<float>(size_t, std::span<const size_t>);

}  // namespace fathom
