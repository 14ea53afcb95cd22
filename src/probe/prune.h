#pragma once
// Checkpoints without some of their layers.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "io/checkpoint.h"

namespace fathom {

/// "21-24,27" -> {21, 22, 23, 24, 27}, rising. Errors: Error (usage) on anything else, a layer outside 1..L
/// or named twice, or when no layer would be left.
std::vector<size_t> parse_layers(const std::string& text, size_t num_layers);

/// The model without the layers at the 1-based places `dropped` (rising). Every layer that stays keeps scale
/// and kind: its original index goes into norm.layer_index.
ModelConfig pruned_config(const ModelConfig& config, std::span<const size_t> dropped);

/// Copies the weights of the layers that stay. Shapes: `to` is of pruned_config(from's config, dropped).
template <class W>
void copy_kept_weights(ResidentWeights<W>& to, const ResidentWeights<W>& from,
                       std::span<const size_t> dropped);

/// Writes `model` (a checkpoint folder) without `dropped` to the folder `out`, in the source's precision,
/// with the tokenizer's files. It is written under another name, read back, held to the source (every weight
/// bit for bit, and the losses of a run of the source that skips the layers), and only then renamed. Errors:
/// Error where `out` holds something already, or where what was read back differs, naming the tensor or the
/// first layer.
void write_pruned(const std::filesystem::path& model, std::span<const size_t> dropped,
                  const std::filesystem::path& out);

}  // namespace fathom
