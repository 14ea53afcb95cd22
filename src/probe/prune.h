#pragma once
// Models without some of their layers: which, and what is left.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "model/config.h"

namespace fathom {

/// "21-24,27" -> {21, 22, 23, 24, 27}, rising. `flag` is named in messages. Errors: Error (usage) on anything
/// else, and on a layer outside 1..L or named twice.
std::vector<size_t> parse_layers(const std::string& text, size_t num_layers,
                                 const std::string& flag = "--drop");

/// 0-based places of the layers that stay without those at the 1-based places `dropped` (rising).
std::vector<size_t> kept_layers(size_t num_layers, std::span<const size_t> dropped);

/// The model without the layers at the 1-based places `dropped` (rising). Every layer that stays keeps scale
/// and kind: its original index goes into norm.layer_index. Errors: Error (usage) where no layer would be
/// left.
ModelConfig pruned_config(const ModelConfig& config, std::span<const size_t> dropped);

}  // namespace fathom
