#include "probe/prune.h"

#include <algorithm>

#include "core/error.h"

namespace fathom {
std::vector<size_t> kept_layers(size_t num_layers, std::span<const size_t> dropped) {
  std::vector<size_t> kept;
  for (size_t l = 0; l < num_layers; ++l) {
    if (!std::binary_search(dropped.begin(), dropped.end(), l + 1)) kept.push_back(l);
  }
  return kept;
}

ModelConfig pruned_config(const ModelConfig& config, std::span<const size_t> dropped) {
  const std::vector<size_t> kept = kept_layers(config.num_hidden_layers, dropped);
  if (kept.empty()) usage_error("no layer would be left", "drop fewer");
  ModelConfig pruned = config;
  pruned.norm = resolved(config.norm, config.num_hidden_layers);
  const std::vector<size_t> index = std::move(pruned.norm.layer_index);
  pruned.norm.layer_index.clear();
  pruned.windowed.clear();
  for (const size_t l : kept) {
    pruned.norm.layer_index.push_back(index[l]);
    if (!config.windowed.empty()) pruned.windowed.push_back(config.windowed[l]);
  }
  pruned.num_hidden_layers = kept.size();
  return pruned;
}

}  // namespace fathom
