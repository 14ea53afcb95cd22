#pragma once
// The removal sweep: what each layer, each run of layers or each sublayer is worth to the loss; and the price
// of sets of layers.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/layer_costs.h"
#include "core/progress.h"
#include "model/transformer.h"
#include "probe/interventions.h"
#include "text/windows.h"

namespace fathom {

/// "layer", "attn" or "mlp". Errors: Error (usage) for another name.
Removed parse_removed(const std::string& name);
std::string removed_name(Removed what);

struct SweepOptions {
  size_t block = 1;  ///< Layers at a time, one behind the other.
  Removed what = Removed::kLayer;
  size_t batch_size = 8;
};

struct SweptRemoval {
  std::vector<size_t> layers;    ///< 1-based places in the model at hand
  std::vector<size_t> original;  ///< their 1-based indices in the model as it was trained
  double loss = 0, delta_loss = 0, delta_loss_stderr = 0;
};

struct SweepResult {
  SweepOptions options;
  uint64_t tokens = 0, sequences = 0;
  double loss = 0, loss_stderr = 0;  ///< nats a token; standard errors are over sequences
  std::vector<SweptRemoval> removed;
  /// Of single whole layers; nothing for blocks and sublayers, NaN where a removal's loss is not finite.
  std::optional<double> effective_depth, effective_depth_ratio;
  /// What it took, in runs of a layer over all tokens, a sublayer counting half; L + 1 whole passes would be
  /// L (L + 1).
  double layer_runs = 0;
};

/// What a sweep leaves out, one removal after the other as every_run names them, without a price yet (NaN).
/// Errors: Error (usage) where no layer would be left.
SweepResult planned_sweep(const std::vector<LayerPlan>& plans, const SweepOptions& options);

/// Loss with each run of `block` layers left out, or with one sublayer of each, the others keeping the wiring
/// of their own index. Each removal starts from the stream that the whole pass left before it, so that all of
/// them together cost about half of L passes. Memory: the streams of one batch, (L + 1) batch_size T C.
/// Errors: those of planned_sweep and Transformer::forward; Error where the whole model's loss is not finite.
template <class W>
SweepResult sweep_layers(Transformer<W>& model, const TokenSequences& sequences, const SweepOptions& options,
                         Progress& progress);

/// The price of removing a set of layers.
struct RemovalPrice {
  std::vector<size_t> layers;  ///< 1-based places, rising
  uint64_t tokens = 0, sequences = 0;
  double loss = 0, loss_stderr = 0;  ///< of the whole model, nats a token
  double loss_without = 0;
  double delta_loss = 0, delta_loss_stderr = 0;  ///< paired by sequence
};

/// The price of each of `sets` (1-based places, rising, none empty), all on the same sequences. Each starts
/// from the stream before its first layer. Memory: as sweep_layers. Errors: those of Transformer::forward,
/// and Error where the whole model's loss is not finite.
template <class W>
std::vector<RemovalPrice> price_removals(Transformer<W>& model, const TokenSequences& sequences,
                                         const std::vector<std::vector<size_t>>& sets, size_t batch_size,
                                         Progress& progress);

/// {"loss", "loss_stderr", "perplexity", "tokens", "sequences", "what", "block", "layer_runs", "removed":
/// [{"layers", "loss", "perplexity", "delta_loss", "delta_loss_stderr"}], "effective_depth",
/// "effective_depth_ratio"}; with "original_layers" in the entries of a pruned model; null for what there is
/// not.
nlohmann::json sweep_json(const SweepResult& result);

/// The sweep of single layers that a diagnosis with effective_depth has made, from its result (diagnosis.h):
/// the same removals of the same text, so that nobody need make them again.
SweepResult sweep_of_diagnosis(const nlohmann::json& diagnosis, const std::vector<LayerPlan>& plans);

/// An entry of "removed", as above.
nlohmann::json price_json(const RemovalPrice& price);

}  // namespace fathom
