// config.json of a pruned checkpoint.

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
  if (store != StoreAs::kSource) {
    out.erase("quantization_config");
    // transformers 5 says dtype where its elders said torch_dtype.
    out[out.contains("dtype") ? "dtype" : "torch_dtype"] = made["torch_dtype"];
  }
  return out;
}

}  // namespace fathom
