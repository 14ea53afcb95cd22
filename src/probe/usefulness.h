#pragma once
// Is a layer more than a linear map? Each layer is replaced by the linear map (with bias) that fits it best,
// and the loss with the map over the loss with the layer says how much the rest was worth.
// Csordas et al. 2025, arXiv:2505.13898, as the ratio minus 1.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/progress.h"
#include "model/transformer.h"
#include "probe/sequence_mean.h"
#include "probe/stream_metrics.h"
#include "text/windows.h"

namespace fathom {

struct Usefulness {
  /// By layer: loss with the map / loss - 1 on the scored half; empty where there were too few tokens.
  std::vector<double> value;
  std::vector<double> standard_error;  ///< over sequences, of the paired difference over the loss
  std::string reason;                  ///< why there is no value, or ""
  double share = 0;                    ///< of layers above 0.1
  uint64_t fitted_tokens = 0, scored_tokens = 0;
};

/// Whether half of the sequences has the 4 C tokens that a fit takes.
bool has_tokens_to_fit(const TokenSequences& sequences, size_t C);

/// What the least squares of L layers take at once beside streams and weights: their sums in doubles, and one
/// map. Each layer's sums are freed when its map is made.
template <class S>
size_t usefulness_bytes(size_t L, size_t C);

/// A pass over all of the text in one batch that has been made already: its streams, and its losses (rows).
template <class S>
struct RecordedText {
  const StreamRecorder<S>* record = nullptr;
  Batch batch{};
  const double* nll = nullptr;
};

/// Goes over the text `max_rows` rows at a time (0: all), which bounds the memory; `spill`: see
/// StreamRecorder. The maps are fitted by least squares in double on the first half of the sequences (each
/// layer on what entered and left it in the whole model), the losses are of the second half. Needs 4 C tokens
/// to fit, and usefulness_bytes() within `budget` (nothing: 4 GiB); without, the reason is all that it gives.
/// With `recorded` no pass is made, and max_rows and spill are not asked.
template <class W>
Usefulness measure_usefulness(Transformer<W>& model, const TokenSequences& sequences, size_t max_rows,
                              Progress& progress, const std::filesystem::path& spill = {},
                              std::optional<size_t> budget = {},
                              const RecordedText<Stream<W>>& recorded = {});

}  // namespace fathom
