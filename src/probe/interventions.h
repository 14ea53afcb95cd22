#pragma once
// What becomes of the loss when layers are left out or change places. Each intervention starts from the
// stream that a whole pass left before the first layer concerned (prefix reuse), and runs what follows.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/transformer.h"
#include "probe/stream_metrics.h"

namespace fathom {

/// nll (rows) of the batch when `program` runs on `start` (rows, C), which stays as it is. `room` is made
/// large enough for the stream: who asks again and again keeps it, since the system clears fresh memory.
template <class W>
void losses_from(Transformer<W>& model, double* nll, const Stream<W>* start,
                 std::span<const ProgramStep<Stream<W>>> program, const Batch& batch, Buffer<Stream<W>>& room,
                 const Observer<Stream<W>>& observer = {});

/// nll (rows) without layer s (0-based); `record` holds the whole pass over the same batch.
template <class W>
void losses_without_layer(Transformer<W>& model, double* nll, size_t s,
                          const StreamRecorder<Stream<W>>& record, const Batch& batch,
                          const Observer<Stream<W>>& observer = {});

/// Layers i < j (0-based) in each other's place, for each j of [begin, begin + count): nll (count, rows).
/// Each keeps its own weights and wiring. The runs go side by side, so that a layer's products have the rows
/// of all of them; `room` as above, for `count` streams.
template <class W>
void losses_with_swaps(Transformer<W>& model, double* nll, size_t i, size_t begin, size_t count,
                       const StreamRecorder<Stream<W>>& record, const Batch& batch, Buffer<Stream<W>>& room);

/// What is left out of a layer: all of it, or what one of its sublayers contributes (LayerPart).
enum class Removed { kLayer, kAttention, kMlp };

/// `count` places of a program, 0-based and one behind the other, whose layers (or one sublayer of each) are
/// left out.
struct Removal {
  size_t begin = 0;
  size_t count = 1;
  Removed what = Removed::kLayer;
};

/// Every run of `block` places in a program of `length` steps, from the first on.
std::vector<Removal> every_run(size_t length, size_t block = 1, Removed what = Removed::kLayer);

/// What is left of `program` from the removal's first place on.
template <class S>
Program<S> steps_after(const Program<S>& program, const Removal& removal);

/// What the steps cost, in runs of a sublayer: two for a layer, one for a layer without its attention or its
/// MLP.
template <class S>
uint64_t sublayer_runs(const Program<S>& program);

/// How much layer l's change depends on layer s: [s][l], l > s, is the mean norm of the difference of layer
/// l's change with and without layer s, over the mean norm of layer l's change. Nothing is added for l <= s.
/// Csordas et al. 2025, arXiv:2505.13898, as a ratio of means.
template <class S>
class CausalScore {
 public:
  explicit CausalScore(size_t num_layers) : score(num_layers, std::vector<SequenceMean>(num_layers)) {}
  /// The observer of a pass without layer s; `record` holds the whole pass. All arguments outlive it.
  Observer<S> observer(size_t s, const StreamRecorder<S>& record, const Batch& batch, size_t C);
  std::vector<std::vector<SequenceMean>> score;

 private:
  void add(SequenceMean& mean, const Tap<S>& tap, const S* input, const StreamRecorder<S>& record,
           const Batch& batch, size_t C);
};

/// Removals from a program, one at a time, each started from the stream before it. Cost of add(): the single
/// layers of a whole model take (L - 1) / 2 whole passes, and L heads.
template <class S>
class LayerRemoval {
 public:
  /// Each layer of a whole model by itself.
  explicit LayerRemoval(size_t num_layers)
      : LayerRemoval(whole_program<S>(num_layers), every_run(num_layers)) {}
  LayerRemoval(Program<S> program, std::vector<Removal> removals);

  /// `record` and `nll` (rows) are of a pass of the program over `batch`. `causal`, where not null (whole
  /// models and single layers only), watches the same passes; `after_each(i)` is called when removal i is
  /// done. Begins with removal `first`: those before it were added already.
  template <class W>
  void add(Transformer<W>& model, const StreamRecorder<S>& record, const double* nll, const Batch& batch,
           CausalScore<S>* causal = nullptr, const std::function<void(size_t)>& after_each = {},
           size_t first = 0);

  const Program<S>& program() const { return program_; }
  const std::vector<Removal>& removals() const { return removals_; }
  /// What removal i costs.
  uint64_t runs(size_t i) const { return sublayer_runs<S>(rest_[i]); }

  SequenceMean loss;                       ///< of the program
  std::vector<SequenceMean> loss_without;  ///< with removal i
  std::vector<SequenceMean> delta;         ///< the difference, paired by sequence

 private:
  Program<S> program_;
  std::vector<Removal> removals_;
  std::vector<Program<S>> rest_;  // the steps that removal i leaves to run
};

/// abs(loss with layers i and j swapped - loss) / loss. Cost of add(): about L^2 / 3 whole passes.
template <class S>
class LayerPermutation {
 public:
  explicit LayerPermutation(size_t num_layers);
  /// Up to `rows_at_once` rows go side by side (at least one pair's), which changes no number.
  /// `after(n)` is called when the pairs up to number n are done, pairs being counted row by row; begins with
  /// pair `first`.
  template <class W>
  void add(Transformer<W>& model, const StreamRecorder<S>& record, const double* nll, const Batch& batch,
           size_t rows_at_once = 0, const std::function<void(size_t)>& after = {}, size_t first = 0);
  /// Symmetric; 0 on the diagonal.
  double score(size_t i, size_t j) const;
  double score_standard_error(size_t i, size_t j) const;

  std::vector<std::vector<SequenceMean>> relative_change;  ///< [i][j], i < j
};

}  // namespace fathom
