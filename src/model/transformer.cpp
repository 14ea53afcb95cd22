#include "model/transformer.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/threads.h"
#include "core/workers.h"
#include "kernels/cross_entropy.h"
#include "kernels/gemm.h"
#include "kernels/rmsnorm.h"
#include "kernels/softcap.h"
#include "model/transformer_workspace.h"

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
  of_threads_.clear();
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
         "shorten it");
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
typename Transformer<W>::Workspace& Transformer<W>::thread_workspace(size_t thread, size_t rows) {
  if (of_threads_.size() <= thread) of_threads_.resize(thread + 1);
  std::unique_ptr<Workspace>& ws = of_threads_[thread];
  if (!ws || ws->rows < rows)
    ws = std::make_unique<Workspace>(Workspace::Kind::kInference, config_, plans_, rows, false);
  return *ws;
}

template <class W>
size_t Transformer<W>::sequences_at_once(const Batch& batch) const {
  if (rows_at_once_ == 0) return batch.B;
  return std::clamp<size_t>(rows_at_once_ / std::max<size_t>(1, batch.T), 1, batch.B);
}

// Into how many pieces the batch's sequences are cut, of which a thread takes one at a time through a layer
// by itself: with products of its own it waits for nobody, and finds in its cache what it has just made. 0
// where these would have too few rows to be fast, and where each would pack the layer's weights for itself:
// on AVX512_BF16 a causal score of 2,044 tokens took 4% longer that way than with the threads at one product.
template <class W>
size_t Transformer<W>::pieces_for_threads(const Batch& batch) const {
  constexpr size_t kFewestRows = 256;
  const size_t threads = num_threads();
  if (rows_at_once_ == 0 || threads == 1 || batch.T == 0 || source_.packed_head().forward == nullptr)
    return 0;
  const size_t sequences = (kFewestRows + batch.T - 1) / batch.T;
  const bool fits = threads * sequences <= sequences_at_once(batch);
  return fits ? batch.B / sequences : 0;
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

// Pieces of like sizes: a short last one would be summed as few rows are, which gives other bits.
size_t begin_of_piece(size_t n, size_t pieces, size_t piece) { return n * piece / pieces; }

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

// Some sequences through one step. Returns the stream between its sublayers, which is in `middle` where that
// is not null.
template <class W>
auto Transformer<W>::run_part(S* out, const S* in, const ProgramStep<S>& step, const LayerWeights<W>& weights,
                              const BlockContext<W>& part, S* middle, Workspace& ws) -> const S* {
  BlockSaved<W>& saved = ws.saved_for(step.layer, config_, plans_);
  if (middle != nullptr) saved.middle = middle;
  block_forward<W>(out, in, plans_[step.layer], weights, saved, part, step.part);
  return saved.middle;
}

// One step of a program over all rows: in `pieces` of which each thread takes one at a time by itself, or,
// for 0, `at_once` sequences at a time, on which all threads work. Observers see whole rows.
template <class W>
void Transformer<W>::run_layer(S* out, const S* in, const ProgramStep<S>& step,
                               const BlockContext<W>& context, const Observer<S>& observer, size_t at_once,
                               size_t pieces) {
  const size_t l = step.layer, B = context.B, T = context.T, C = config_.hidden_size;
  const LayerWeights<W> weights = source_.layer(l);
  const bool whole = pieces == 0 && at_once >= B;
  if (observer && !whole) ensure(middle_, context.rows() * C);
  const S* middle = middle_.data();
  const auto run_from = [&](size_t b, size_t end, Workspace& ws) {
    const size_t at = b * T * C;
    const S* between = run_part(out + at, in + at, step, weights, part_of(context, b, end - b),
                                observer && !whole ? middle_.data() + at : nullptr, ws);
    if (whole) middle = between;
  };
  if (pieces > 0) {
    share_among_workers(pieces, [&](size_t worker, size_t i) {
      run_from(begin_of_piece(B, pieces, i), begin_of_piece(B, pieces, i + 1), *of_threads_[worker]);
    });
  } else {
    for (size_t b = 0; b < B; b += at_once) run_from(b, std::min(b + at_once, B), *inference_);
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
  const size_t pieces = cache != nullptr ? 0 : pieces_for_threads(batch);
  Workspace& ws = inference_workspace(at_once * batch.T);
  for (size_t i = 0; pieces > 0 && i < num_threads(); ++i)
    thread_workspace(i, (batch.B + pieces - 1) / pieces * batch.T);
  Contexts kinds = contexts(batch, position);
  kinds.windowed.forward_only = kinds.whole.forward_only = true;
  S *in = x, *out = ws.rows < rows ? ensure(other_, rows * C) : ws.streams[0];
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
      run_layer(out, in, step, ctx, observer, at_once, pieces);
    }
    std::swap(in, out);
  }
  if (in != x) std::memcpy(x, in, rows * C * sizeof(S));
  if (cache != nullptr) cache->length += batch.T;
}

template <class W>
OutputHead<W> Transformer<W>::output_head() {
  return {source_.head(), config_.hidden_size, config_.vocab_size, config_.final_softcap,
          source_.packed_head()};
}

template <class W>
void Transformer<W>::logits(S* out, const S* x, size_t rows) {
  const size_t C = config_.hidden_size, V = config_.vocab_size;
  static thread_local Buffer<W> normed;
  static thread_local Buffer<S> rstd;
  const size_t most = std::min(rows, kHeadRows);
  ensure(normed, most * C);
  ensure(rstd, most);
  const OuterWeights<W> outer = source_.outer();
  const OutputHead<W> head = output_head();
  constexpr DType kW = dtype_of<W>();
  for (size_t r = 0; r < rows; r += kHeadRows) {
    const size_t n = std::min(kHeadRows, rows - r);
    rmsnorm_forward(normed.data(), rstd.data(), x + r * C, outer.final_norm, S(1),
                    static_cast<S>(config_.rms_norm_eps), n, C);
    gemm(n, V, C, {normed.data(), kW, C}, {head.weight, kW, C, true, head.packed.forward},
         {out + r * V, dtype_of<S>(), V}, kW);
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
  const OuterWeights<W> outer = source_.outer();
  const OutputHead<W> head = output_head();
  const auto score = [&](size_t r, size_t n, Workspace& ws) {
    rmsnorm_forward(ws.normed, ws.rstd, x + r * C, outer.final_norm, S(1),
                    static_cast<S>(config_.rms_norm_eps), n, C);
    head_loss_forward(nll + r, ws.normed, head, targets + r, n);
  };
  // Each thread by itself where the head need not be packed for each: it is read from far away, and so many
  // rows are what a thread's products are done with by the time that it has come.
  constexpr size_t kRowsAThread = 512;
  const size_t threads = num_threads(), pieces = (rows + kRowsAThread - 1) / kRowsAThread;
  if (head.packed.forward != nullptr && threads > 1 && pieces >= threads) {
    for (size_t i = 0; i < threads; ++i) thread_workspace(i, kRowsAThread);
    share_among_workers(pieces, [&](size_t worker, size_t i) {
      const size_t begin = begin_of_piece(rows, pieces, i);
      score(begin, begin_of_piece(rows, pieces, i + 1) - begin, *of_threads_[worker]);
    });
    return;
  }
  Workspace& ws = inference_workspace(std::min(rows, kHeadRows));
  for (size_t r = 0; r < rows; r += kHeadRows) score(r, std::min(kHeadRows, rows - r), ws);
}

template <class W>
void Transformer<W>::forward(double* nll, const Batch& batch, const Observer<S>& observer) {
  Buffer<S> x(batch.rows() * config_.hidden_size);
  embed(x.data(), batch, observer);
  run(x.data(), whole_program<S>(plans_.size()), batch, observer);
  losses(nll, x.data(), batch.targets, batch.rows());
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
