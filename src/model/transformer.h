#pragma once
// The whole model: a forward pass is a short program (a list of layers to run) over a stream, observed at
// named points; a training pass is the same layers with what backward needs kept.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/block.h"

namespace fathom {

/// B sequences of T tokens. `targets` (kIgnoredTarget where a position is not scored) and `first_key` may be
/// null where a call does not need them.
struct Batch {
  size_t B = 0, T = 0;
  const int32_t* tokens = nullptr;     ///< (B, T)
  const int32_t* targets = nullptr;    ///< (B, T)
  const int32_t* first_key = nullptr;  ///< (B, T): document masks; see AttentionShape
  /// Where not empty: B is 1, T the number of rows, and the rows are sequences that share their beginnings
  /// (segments.h), all of them in some segment. Forward only; no cache and no document masks.
  std::span<const Segment> segments = {};
  size_t rows() const { return B * T; }
};

/// A layer replaced by x' = x A + b: A (C, C) row-major (input index first), b (C).
template <class S>
struct LinearMap {
  std::vector<S> A, b;
};

/// One entry of a forward's program: the layer at 0-based position `layer`, whole or without one of its
/// sublayers, or a linear map in its place.
template <class S>
struct ProgramStep {
  size_t layer = 0;
  const LinearMap<S>* linear = nullptr;
  LayerPart part = LayerPart::kWhole;
};
template <class S>
using Program = std::vector<ProgramStep<S>>;

/// All layers in order; the same without some (0-based positions).
template <class S>
Program<S> whole_program(size_t num_layers);
template <class S>
Program<S> program_without(size_t num_layers, std::span<const size_t> removed);

/// Where in the forward an observer is called. The stream is always raw: before the final norm.
enum class TapPoint {
  kEmbedding,  ///< `after` is the stream that enters the first layer (after the embedding norm, where there
               ///< is one)
  kAttention,  ///< after a layer's attention step
  kMlp,        ///< after a layer's MLP step, i.e. the layer's output (a linear map reports here only)
};
template <class S>
struct Tap {
  TapPoint point;
  size_t layer;     ///< 0-based position; 0 for kEmbedding
  const S* before;  ///< (rows, C) the stream before this step; null for kEmbedding
  const S* after;   ///< (rows, C)
};
template <class S>
using Observer = std::function<void(const Tap<S>&)>;

/// Keys and values of all layers for generation.
template <class W>
class KvCache {
 public:
  KvCache(const ModelConfig& config, size_t B, size_t capacity);
  LayerCache<W> layer(size_t l);
  size_t length = 0;  ///< positions filled
  size_t capacity() const { return capacity_; }

 private:
  size_t layer_size_, capacity_;
  Buffer<W> k_, v_;
};

struct TrainOptions {
  bool recompute = false;  ///< Keep only each layer's input and run its forward again in the backward pass.
};

/// Runs a model over weights from a source: each layer's are asked for once a pass. Not thread-safe: it owns
/// the pass's workspace.
/// Errors: Error where a token is outside the vocabulary or T exceeds max_position_embeddings.
template <class W>
class Transformer {
 public:
  using S = Stream<W>;
  Transformer(const ModelConfig& config, WeightSource<W>& source);
  ~Transformer();

  const ModelConfig& config() const { return config_; }
  const std::vector<LayerPlan>& plans() const { return plans_; }
  /// Takes a batch through a layer, and back, whole sequences of about so many rows at a time (at least one
  /// sequence), so that the workspace is bounded whatever the batch; 0, the default: all at once. Forward,
  /// the threads share these rows: each takes its own sequences through the layer, where there are enough of
  /// them and the weights are packed. Forward results are the same bits whatever it is, for parts of more
  /// than 4 rows.
  void set_rows_at_once(size_t rows) { rows_at_once_ = rows; }
  /// For tests: spoil a constant and see that verification fails.
  std::vector<LayerPlan>& mutable_plans() { return plans_; }

  /// x (rows, C) = the embedding of the batch's tokens (normalized where the scheme says so).
  void embed(S* x, const Batch& batch, const Observer<S>& observer = {});
  /// x (rows, C) <- the program applied to x. With a cache, positions start at cache->length, which is
  /// advanced.
  void run(S* x, std::span<const ProgramStep<S>> program, const Batch& batch,
           const Observer<S>& observer = {}, KvCache<W>* cache = nullptr);
  /// Says that `layer` comes next, so that its weights can be read beside the work; `run` says so itself of
  /// the layers of its program.
  void prefetch(size_t layer) { source_.prefetch(layer); }
  /// out (rows, V) = head(final norm(x)).
  void logits(S* out, const S* x, size_t rows);
  /// nll (rows), in nats, of the targets given the stream x (rows, C).
  void losses(double* nll, const S* x, const int32_t* targets, size_t rows);

  /// embed, the whole program, losses: nll (rows).
  void forward(double* nll, const Batch& batch, const Observer<S>& observer = {});

  /// Adds the gradients of grad_scale * (sum of nll) to `gradients`, or begins their sum (Gradients::begin),
  /// and returns the sum of nll. Observers see the forward. Below the lowest layer that is trained there is
  /// no backward pass, and nothing is kept for one.
  double forward_backward(const Batch& batch, Gradients<S>& gradients, double grad_scale,
                          const TrainOptions& options = {}, const Observer<S>& observer = {});

  /// forward_backward in parts, for one who keeps the streams and wants one layer's gradients at a time.
  /// dx (rows, C) = gradient of grad_scale * (sum of nll) by the last stream x (rows, C); nll (rows).
  void head_backward(S* dx, double* nll, const S* x, const int32_t* targets, size_t rows, double grad_scale);
  /// dx (rows, C): gradient of the output of layer `layer` on entry, of its input x (rows, C) on exit. The
  /// layer's parameter gradients are added to `gradients`.
  void layer_backward(size_t layer, S* dx, const S* x, const Batch& batch,
                      const LayerGradients<S>& gradients);

  /// dx (rows, C): v on entry, J^T v on exit, for J the Jacobian of layer `layer` at input x (rows, C). Call
  /// linearize(layer, x, batch) first; then vjp as often as wanted.
  void linearize(size_t layer, const S* x, const Batch& batch);
  void vjp(S* dx);

  /// Bytes of activations and scratch that forward_backward takes for `rows` tokens, where the backward pass
  /// ends at layer `first_layer`.
  static size_t training_bytes(const ModelConfig& config, size_t rows, const TrainOptions& options,
                               size_t first_layer = 0);
  /// The same for forward, which keeps its own beside that of training.
  static size_t inference_bytes(const ModelConfig& config, size_t rows);

  /// Frees the workspace (it is made again when needed).
  void release();

 private:
  struct Workspace;
  /// For layers with the sliding window, and for those without.
  struct Contexts {
    BlockContext<W> windowed, whole;
  };
  Contexts contexts(const Batch& batch, size_t position);
  void check(const Batch& batch, size_t position) const;
  /// (rows) first keys of layers with the sliding window.
  const int32_t* window_first_keys(const Batch& batch, size_t position);
  Workspace& inference_workspace(size_t rows);
  void embedding_gradients(Workspace& ws, const OuterWeights<W>& outer, const OuterGradients<S>& douter,
                           const Batch& batch);
  Workspace& linear_workspace(size_t rows);
  OutputHead<W> output_head();
  size_t sequences_at_once(const Batch& batch) const;
  size_t pieces_for_threads(const Batch& batch) const;
  Workspace& thread_workspace(size_t thread, size_t rows);
  static BlockContext<W> part_of(const BlockContext<W>& context, size_t first, size_t sequences);
  void run_layer(S* out, const S* in, const ProgramStep<S>& step, const BlockContext<W>& context,
                 const Observer<S>& observer, size_t at_once, size_t pieces);
  const S* run_part(S* out, const S* in, const ProgramStep<S>& step, const LayerWeights<W>& weights,
                    const BlockContext<W>& part, S* middle, Workspace& ws);

  ModelConfig config_;
  std::vector<LayerPlan> plans_;
  WeightSource<W>& source_;
  std::unique_ptr<RopeTable<S>> rope_, local_rope_;  // local: of windowed layers, where it differs
  std::vector<int32_t> first_key_;                   // sliding window merged with the batch's own
  std::unique_ptr<Workspace> inference_, training_, linearized_;
  std::vector<std::unique_ptr<Workspace>> of_threads_;  // forward, where threads take sequences of their own
  size_t rows_at_once_ = 0;
  Buffer<S> other_, middle_;  // whole streams, where a batch runs in parts
};

}  // namespace fathom
