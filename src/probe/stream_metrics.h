#pragma once
// Metrics of the residual stream, each a small observer of a forward pass (transformer.h: taps) that adds up
// over batches. Taps are of the raw stream, before the final norm; vectors are in the stream's type, all sums
// in double; rows without a target are left out.

#include <cstddef>
#include <vector>

#include "core/buffer.h"
#include "model/transformer.h"
#include "probe/sequence_mean.h"

namespace fathom {

/// Cosine of two vectors (C), clamped to [-1, 1]; of equal ones exactly 1; 0 where one of them is zero.
template <class S>
double cosine(const S* a, const S* b, size_t C);
/// arccos(cosine) / pi: 0 for equal directions, 1 for opposite ones.  Gromov et al. 2024, arXiv:2403.17887.
template <class S>
double angular_distance(const S* a, const S* b, size_t C);

/// Watches the taps of passes over a batch. C is the stream's width.
template <class S>
class StreamMetric {
 public:
  virtual ~StreamMetric() = default;
  virtual void observe(const Tap<S>& tap, const Batch& batch, size_t C) = 0;
};

/// The observer that shows a pass over `batch` to all `metrics`; all of them outlive it.
template <class S>
Observer<S> observer_of(std::vector<StreamMetric<S>*> metrics, const Batch& batch, size_t C);

/// Entry 0 is the embedding, entry l the output of layer l: population variance over the hidden dimension,
/// and root mean square, each as mean over tokens.
template <class S>
class StreamStatistics final : public StreamMetric<S> {
 public:
  explicit StreamStatistics(size_t num_layers) : variance(num_layers + 1), rms(num_layers + 1) {}
  void observe(const Tap<S>& tap, const Batch& batch, size_t C) override;
  std::vector<SequenceMean> variance, rms;
};

/// 1 - mean cosine of the stream before and after each layer.  Block Influence: Men et al. 2024,
/// arXiv:2403.03853.
template <class S>
class BlockInfluence final : public StreamMetric<S> {
 public:
  explicit BlockInfluence(size_t num_layers) : influence(num_layers) {}
  void observe(const Tap<S>& tap, const Batch& batch, size_t C) override;
  std::vector<SequenceMean> influence;

 private:
  const S* input_ = nullptr;
};

/// What each step adds to the stream: the norm of its change over the norm of the stream before it, and the
/// cosine of the two.
template <class S>
class StepContributions final : public StreamMetric<S> {
 public:
  explicit StepContributions(size_t num_layers)
      : attn_contribution(num_layers),
        mlp_contribution(num_layers),
        attn_cosine(num_layers),
        mlp_cosine(num_layers) {}
  void observe(const Tap<S>& tap, const Batch& batch, size_t C) override;
  std::vector<SequenceMean> attn_contribution, mlp_contribution, attn_cosine, mlp_cosine;
};

/// Keeps the streams of the last pass: what pairs of layers, lenses and interventions start from.
/// Memory: (L + 1) rows C.
template <class S>
class StreamRecorder final : public StreamMetric<S> {
 public:
  explicit StreamRecorder(size_t num_layers) : streams_(num_layers + 1) {}
  void observe(const Tap<S>& tap, const Batch& batch, size_t C) override;
  size_t num_layers() const { return streams_.size() - 1; }
  /// (rows, C) the embedding for l = 0, the output of layer l (1-based) otherwise.
  const S* stream(size_t l) const { return streams_[l].data(); }

 private:
  std::vector<Buffer<S>> streams_;
};

/// Angular distances over n layers: row n - 1 holds those from each start l to l + n, l = 0 .. L - n.
template <class S>
class AngularDistances {
 public:
  explicit AngularDistances(size_t num_layers);
  void add(const StreamRecorder<S>& record, const Batch& batch, size_t C);
  /// Over all tokens, and over the last scored token of each sequence alone.
  std::vector<std::vector<SequenceMean>> all_tokens, last_token;
};

}  // namespace fathom
