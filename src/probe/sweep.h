#pragma once
// The layer-removal sweep: what each layer is worth to the loss.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/progress.h"
#include "model/transformer.h"
#include "text/windows.h"

namespace fathom {

/// (sum d)^2 / sum d^2 with d_l = max(0, delta_l): the number of layers that matter, L when all matter alike.
/// Nothing where no removal hurts.
std::optional<double> effective_depth(std::span<const double> delta_losses);

struct RemovedLayer {
  size_t layer = 0;     ///< 1-based place in the model at hand
  size_t original = 0;  ///< 1-based index in the model as it was trained
  double loss = 0, delta_loss = 0, delta_loss_stderr = 0;
};

struct SweepResult {
  uint64_t tokens = 0, sequences = 0;
  double loss = 0, loss_stderr = 0;  ///< nats a token; standard errors are over sequences
  std::vector<RemovedLayer> removed;
  std::optional<double> effective_depth, effective_depth_ratio;
  /// What it took, in runs of a layer over all tokens; L + 1 whole passes would be L (L + 1).
  uint64_t layer_runs = 0;
};

/// Loss with each layer removed, the others keeping the wiring of their own index. Each removal starts from
/// the stream that the whole pass left before the layer, so that all of them together cost half of L passes.
/// Memory: the streams of one batch, (L + 1) batch_size T C. Errors: those of Transformer::forward.
template <class W>
SweepResult sweep_layers(Transformer<W>& model, const TokenSequences& sequences, size_t batch_size,
                         Progress& progress);

/// The price of removing several layers at once.
struct RemovalPrice {
  uint64_t tokens = 0, sequences = 0;
  double loss = 0, loss_without = 0;  ///< nats a token
  double delta_loss = 0, delta_loss_stderr = 0;
};

/// Loss of the whole model and without `layers` (1-based places), on the same sequences. Errors: those of
/// Transformer::forward.
template <class W>
RemovalPrice price_removal(Transformer<W>& model, const TokenSequences& sequences,
                           std::span<const size_t> layers, size_t batch_size);

/// {"loss", "loss_stderr", "perplexity", "tokens", "sequences", "removed": [{"layers", "loss", "perplexity",
/// "delta_loss", "delta_loss_stderr"}], "effective_depth", "effective_depth_ratio"}; with "original_layers"
/// in the entries of a pruned model; null for what there is not.
nlohmann::json sweep_json(const SweepResult& result);

}  // namespace fathom
