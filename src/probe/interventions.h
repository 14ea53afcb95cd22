#pragma once
// What becomes of the loss when layers are left out or change places. Each intervention starts from the
// stream that a whole pass left before the first layer concerned (prefix reuse), and runs what follows.

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "model/transformer.h"
#include "probe/stream_metrics.h"

namespace fathom {

/// nll (rows) of the batch when `program` runs on `start` (rows, C), which stays as it is.
template <class W>
void losses_from(Transformer<W>& model, double* nll, const Stream<W>* start,
                 std::span<const ProgramStep<Stream<W>>> program, const Batch& batch,
                 const Observer<Stream<W>>& observer = {});

/// nll (rows) without layer s (0-based); `record` holds the whole pass over the same batch.
template <class W>
void losses_without_layer(Transformer<W>& model, double* nll, size_t s,
                          const StreamRecorder<Stream<W>>& record, const Batch& batch,
                          const Observer<Stream<W>>& observer = {});

/// nll (rows) with layers i < j (0-based) in each other's place; each keeps its own weights and wiring.
template <class W>
void losses_with_swap(Transformer<W>& model, double* nll, size_t i, size_t j,
                      const StreamRecorder<Stream<W>>& record, const Batch& batch);

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

/// Leaving out one layer at a time. Cost of add(): L layers take (L - 1) / 2 whole passes, and L heads.
template <class S>
class LayerRemoval {
 public:
  explicit LayerRemoval(size_t num_layers) : loss_without(num_layers), delta(num_layers) {}
  /// `record` and `nll` (rows) are of the whole pass over `batch`. `causal`, where not null, watches the same
  /// passes; `after_each(s)` is called when layer s is done. Begins with layer `first`: those before it were
  /// added already.
  template <class W>
  void add(Transformer<W>& model, const StreamRecorder<S>& record, const double* nll, const Batch& batch,
           CausalScore<S>* causal = nullptr, const std::function<void(size_t)>& after_each = {},
           size_t first = 0);

  SequenceMean loss;                       ///< of the whole model
  std::vector<SequenceMean> loss_without;  ///< without layer s
  std::vector<SequenceMean> delta;         ///< the difference, paired by sequence
};

/// abs(loss with layers i and j swapped - loss) / loss. Cost of add(): about L^2 / 3 whole passes.
template <class S>
class LayerPermutation {
 public:
  explicit LayerPermutation(size_t num_layers);
  /// `after_each(n)` is called when pair n is done, pairs being counted row by row; begins with pair `first`.
  template <class W>
  void add(Transformer<W>& model, const StreamRecorder<S>& record, const double* nll, const Batch& batch,
           const std::function<void(size_t)>& after_each = {}, size_t first = 0);
  /// Symmetric; 0 on the diagonal.
  double score(size_t i, size_t j) const;
  double score_standard_error(size_t i, size_t j) const;

  std::vector<std::vector<SequenceMean>> relative_change;  ///< [i][j], i < j
};

}  // namespace fathom
