// config.json of a pruned checkpoint.

#include <algorithm>
#include <charconv>

#include "probe/prune.h"
#include "probe/write_pruned.h"

namespace fathom {
namespace {

using nlohmann::json;

// The entries of the layers that stay. Families fall back on a pattern by index where there is no list; a
// pruned model breaks the pattern, so that its list must be there.
void keep_layer_types(json& out, const json& made, size_t num_layers, std::span<const size_t> dropped) {
  if (out.contains("layer_types") && out["layer_types"].is_array() &&
      out["layer_types"].size() == num_layers) {
    json kept = json::array();
    for (const size_t l : kept_layers(num_layers, dropped)) kept.push_back(out["layer_types"][l]);
    out["layer_types"] = std::move(kept);
  } else if (made.contains("layer_types")) {
    out["layer_types"] = made["layer_types"];
  }
}

// "model.layers.7.mlp" under the number that layer 7 has among the kept ones; "" where it is gone; other
// names as they are.
std::string renumbered(const std::string& name, const std::vector<size_t>& kept) {
  const std::string prefix = "model.layers.";
  if (!name.starts_with(prefix)) return name;
  size_t layer = 0;
  const char* end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + prefix.size(), end, layer);
  if (error != std::errc()) return name;
  const auto place = std::find(kept.begin(), kept.end(), layer);
  return place == kept.end() ? "" : prefix + std::to_string(place - kept.begin()) + std::string(rest, end);
}

// Modules that a quantizer left alone are named with their layers' numbers (Qwen3's F8 checkpoints name every
// norm).
void renumber_modules(json& names, size_t num_layers, std::span<const size_t> dropped) {
  if (!names.is_array()) return;
  const std::vector<size_t> kept = kept_layers(num_layers, dropped);
  json out = json::array();
  for (const json& name : names) {
    const std::string renamed = name.is_string() ? renumbered(name.get<std::string>(), kept) : "";
    if (!renamed.empty()) out.push_back(renamed);
  }
  names = std::move(out);
}

}  // namespace

json pruned_config_json(const json& source, const ModelConfig& source_config, std::span<const size_t> dropped,
                        StoreAs store) {
  const ModelConfig pruned = pruned_config(source_config, dropped);
  const json made = config_to_json(pruned, store == StoreAs::kBf16 ? DType::kBf16 : DType::kF32);
  json out = source;
  out["num_hidden_layers"] = made["num_hidden_layers"];
  out["norm_scheme"] = made["norm_scheme"];
  keep_layer_types(out, made, source_config.num_hidden_layers, dropped);
  // Qwen's way to say the same: windows from a layer on.
  if (made.contains("max_window_layers")) out["max_window_layers"] = made["max_window_layers"];
  if (made["model_type"] == "fathom") {
    for (const char* key :
         {"architectures", "model_type", "auto_map", "hidden_act", "head_dim", "rope_theta"})
      out[key] = made[key];
  } else {
    out.erase("auto_map");  // names code that stays behind; the classes that are read are transformers' own
  }
  for (const char* key : {"modules_to_not_convert", "ignored_layers"}) {
    if (out.contains("quantization_config") && out["quantization_config"].contains(key))
      renumber_modules(out["quantization_config"][key], source_config.num_hidden_layers, dropped);
  }
  if (store != StoreAs::kSource) {
    out.erase("quantization_config");
    // transformers 5 says dtype where its elders said torch_dtype.
    out[out.contains("dtype") ? "dtype" : "torch_dtype"] = made["torch_dtype"];
  }
  return out;
}

}  // namespace fathom
