#pragma once
// Is a layer more than a linear map? Each layer is replaced by the linear map (with bias) that fits it best,
// and the loss with the map over the loss with the layer says how much the rest was worth.
// Csordas et al. 2025, arXiv:2505.13898, as the ratio minus 1.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/transformer.h"
#include "probe/least_squares.h"
#include "probe/sequence_mean.h"
#include "probe/stream_metrics.h"
#include "text/windows.h"

namespace fathom {

struct Usefulness {
  /// By layer: loss with the map / loss - 1 on the scored half; empty where it was not measured.
  std::vector<double> value;
  std::vector<double> standard_error;  ///< over sequences, of the paired difference over the loss
  std::string reason;                  ///< why there is no value, or ""
  double share = 0;                    ///< of layers above 0.1
  uint64_t fitted_tokens = 0, scored_tokens = 0;
};

/// Whether half of the sequences has the 4 C tokens that a fit takes.
bool has_tokens_to_fit(const TokenSequences& sequences, size_t C);

/// What the least squares of so many layers take at once beside streams and weights: their sums in doubles,
/// and one map. A text of one pass takes those of one layer; where there are several passes, those of all
/// layers are held until the first half of the text has been seen.
template <class S>
size_t usefulness_bytes(size_t layers, size_t C);

/// Why it can't be measured, or "": it needs the tokens, and `bytes` within `budget` (nothing: 4 GiB).
std::string usefulness_obstacle(const TokenSequences& sequences, size_t C, size_t bytes,
                                std::optional<size_t> budget);

/// The maps are fitted by least squares in double on the first half of the sequences (each layer on what
/// entered and left it in the whole model), the losses are of the second half.
template <class S>
class LayerUsefulness {
 public:
  explicit LayerUsefulness(size_t num_layers);

  /// The next part of the text. `record` and `nll` (rows) are of a whole pass over `batch`, whose first
  /// `fitted` sequences belong to the first half. Where `more` parts follow, the maps of all layers are made
  /// ready for them. Where there is a `reason` the part is left out. `after_each(l)` is called when layer l
  /// is done. Begins with layer `first`: the losses of those before it were added already.
  template <class W>
  void add(Transformer<W>& model, const StreamRecorder<S>& record, const double* nll, const Batch& batch,
           size_t fitted, bool more, const std::function<void(size_t)>& after_each, size_t first = 0);
  /// A part of the text whose losses were added before these sums were taken up again: fits alone, of the
  /// layers from `first` on.
  void fit(const StreamRecorder<S>& record, const Batch& batch, size_t C, size_t fitted, size_t first);

  /// `sequences` are the whole text.
  Usefulness result(const TokenSequences& sequences) const;

  std::vector<SequenceMean> loss;        ///< one entry: of the model, on the second half
  std::vector<SequenceMean> difference;  ///< of the losses with layer l's map and the model's
  std::string reason;                    ///< why it is not measured, or ""
  uint64_t left_out = 0;                 ///< 1 where parts of the text went by for that reason

 private:
  void fit_layer(const StreamRecorder<S>& record, const std::vector<size_t>& rows, size_t C, size_t l);
  const LinearMap<S>& map_of(size_t l);

  std::vector<std::optional<NormalEquations>> sums_;  // of a layer whose map is not made yet
  std::vector<LinearMap<S>> maps_;
  Buffer<S> room_;
};

}  // namespace fathom
