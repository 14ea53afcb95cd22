#pragma once
// Models without some of their layers: which, and what is left.

#include <cstddef>
#include <span>
#include <vector>

#include "model/config.h"
#include "model/layer_list.h"

namespace fathom {

/// 0-based places of the layers that stay without those at the 1-based places `dropped` (rising).
std::vector<size_t> kept_layers(size_t num_layers, std::span<const size_t> dropped);

/// The model without the layers at the 1-based places `dropped` (rising). Every layer that stays keeps scale
/// and kind: its original index goes into norm.layer_index. Errors: Error (usage) where no layer would be
/// left.
ModelConfig pruned_config(const ModelConfig& config, std::span<const size_t> dropped);

}  // namespace fathom
