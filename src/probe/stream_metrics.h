#pragma once
// Metrics of the residual stream, each a small observer of a forward pass (transformer.h: taps) that adds up
// over batches. Taps are of the raw stream, before the final norm; vectors are in the stream's type, all sums
// in double; rows without a target are left out.

#include <cstddef>
#include <filesystem>
#include <utility>
#include <vector>

#include "core/buffer.h"
#include "core/spill_file.h"
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
/// and root mean square, each as mean over tokens; and the same without the first token of each sequence,
/// which carries massive activations in many models (Sun et al. 2024, arXiv:2402.17762).
template <class S>
class StreamStatistics final : public StreamMetric<S> {
 public:
  explicit StreamStatistics(size_t num_layers)
      : variance(num_layers + 1),
        rms(num_layers + 1),
        variance_without_first(num_layers + 1),
        rms_without_first(num_layers + 1) {}
  void observe(const Tap<S>& tap, const Batch& batch, size_t C) override;
  std::vector<SequenceMean> variance, rms, variance_without_first, rms_without_first;
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

/// What each step adds to the stream: the norm of its change over the norm of the stream before it, the
/// cosine of the two, and the change's own variance and root mean square, as the stream's.
template <class S>
class StepContributions final : public StreamMetric<S> {
 public:
  explicit StepContributions(size_t num_layers)
      : attn_contribution(num_layers),
        mlp_contribution(num_layers),
        attn_cosine(num_layers),
        mlp_cosine(num_layers),
        attn_variance(num_layers),
        mlp_variance(num_layers),
        attn_rms(num_layers),
        mlp_rms(num_layers) {}
  void observe(const Tap<S>& tap, const Batch& batch, size_t C) override;
  std::vector<SequenceMean> attn_contribution, mlp_contribution, attn_cosine, mlp_cosine;
  std::vector<SequenceMean> attn_variance, mlp_variance, attn_rms, mlp_rms;
};

/// Keeps the streams of the last pass: what pairs of layers, lenses and interventions start from.
/// Memory: (L + 1) rows C, or, where a folder is given, a file in it that is mapped, whose pages drop() gives
/// back: the values are the same. Errors: SpillFile's.
template <class S>
class StreamRecorder final : public StreamMetric<S> {
 public:
  explicit StreamRecorder(size_t num_layers, std::filesystem::path spill_folder = {})
      : folder_(std::move(spill_folder)), streams_(num_layers + 1) {}
  void observe(const Tap<S>& tap, const Batch& batch, size_t C) override;
  size_t num_layers() const { return streams_.size() - 1; }
  /// (rows, C) the embedding for l = 0, the output of layer l (1-based) otherwise.
  const S* stream(size_t l) const { return streams_[l]; }
  /// Gives memory back where the streams are in a file: nobody reads them in the next moment.
  void drop() const { file_.drop(0, file_.size()); }

 private:
  std::filesystem::path folder_;
  std::vector<S*> streams_;
  std::vector<Buffer<S>> buffers_;
  SpillFile file_;
  size_t size_ = 0;  // of a stream
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
