// config.json <-> ModelConfig, in Hugging Face's keys, with "norm_scheme" for what Hugging Face has no key
// for.

#include <cmath>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "io/adapter.h"
#include "io/checkpoint.h"
#include "io/families.h"
#include "io/gguf_model.h"
#include "io/json_keys.h"
#include "io/json_text.h"

namespace fathom {
namespace {

using nlohmann::json;

NormScheme scheme_from_json(const json& object, const std::string& origin) {
  if (!object.is_object()) {
    fail({.what = "'norm_scheme' must be an object with a \"type\"", .path = origin});
  }
  const JsonKeys keys(object, origin);
  if (!keys.has("type")) keys.bad("norm_scheme.type", "is missing");
  NormScheme scheme;
  try {
    scheme.type = parse_norm(keys.text("type", ""));
  } catch (const Error& e) {
    fail({.what = e.fields().what, .path = origin, .hint = e.fields().hint});
  }
  scheme.alpha = keys.real("alpha", 0.0);
  if (!std::isfinite(scheme.alpha) || scheme.alpha < 0) keys.bad("norm_scheme.alpha", "must be above 0");
  scheme.post_layers = keys.size("post_layers", NormScheme::kDefault);
  scheme.layerscale_init = keys.real("layerscale_init", scheme.layerscale_init);
  scheme.num_layers_original = keys.size("num_layers_original", 0);
  scheme.layer_index = keys.sizes("layer_index");
  return scheme;
}

}  // namespace

ModelConfig config_from_json(const json& object, const std::string& origin) {
  if (!object.is_object()) {
    fail({.what = "is not a JSON object", .path = origin});
  }
  const JsonKeys keys(object, origin);
  if (keys.boolean("mlp_bias", false)) keys.bad("mlp_bias", "is not supported");
  ModelConfig c;
  c.hidden_size = keys.size("hidden_size");
  c.intermediate_size = keys.size("intermediate_size");
  c.num_hidden_layers = keys.size("num_hidden_layers");
  c.num_attention_heads = keys.size("num_attention_heads");
  c.num_key_value_heads = keys.size("num_key_value_heads", c.num_attention_heads);
  c.vocab_size = keys.size("vocab_size");
  c.max_position_embeddings = keys.size("max_position_embeddings", keys.size("max_sequence_length", 2048));
  c.rms_norm_eps = keys.real("rms_norm_eps", 1e-6);
  c.initializer_range = keys.real("initializer_range", 0.02);
  c.tie_word_embeddings = keys.boolean("tie_word_embeddings", false);
  c.bos_token_id = keys.id("bos_token_id");
  if (const std::vector<long> ids = keys.ids("eos_token_id"); !ids.empty()) {
    c.eos_token_id = ids[0];
    c.more_eos_token_ids.assign(ids.begin() + 1, ids.end());
  }
  read_family(keys, c);
  if (c.head_dim == 0 && c.num_attention_heads > 0) {
    c.head_dim = c.hidden_size / c.num_attention_heads;
    if (c.hidden_size % c.num_attention_heads != 0) {
      keys.bad("num_attention_heads",
               "is " + std::to_string(c.num_attention_heads) + ", which does not divide hidden_size " +
                   std::to_string(c.hidden_size),
               "change one of them, or give head_dim");
    }
  }
  if (keys.has("norm_scheme")) c.norm = scheme_from_json(object["norm_scheme"], origin);
  validate(c, origin);
  return c;
}

json config_to_json(const ModelConfig& c, DType stored) {
  const NormScheme scheme = resolved(c.norm, c.num_hidden_layers);
  json norm{{"type", norm_name(scheme.type)}};
  if (scheme.type == NormType::kDeepNorm) norm["alpha"] = scheme.alpha;
  if (scheme.type == NormType::kMix) norm["post_layers"] = scheme.post_layers;
  if (scheme.num_layers_original != c.num_hidden_layers) {
    norm["num_layers_original"] = scheme.num_layers_original;
    norm["layer_index"] = scheme.layer_index;
  }
  json out{{"hidden_size", c.hidden_size},
           {"intermediate_size", c.intermediate_size},
           {"num_hidden_layers", c.num_hidden_layers},
           {"num_attention_heads", c.num_attention_heads},
           {"num_key_value_heads", c.num_key_value_heads},
           {"head_dim", c.head_dim},
           {"vocab_size", c.vocab_size},
           {"max_position_embeddings", c.max_position_embeddings},
           {"rms_norm_eps", c.rms_norm_eps},
           {"initializer_range", c.initializer_range},
           {"tie_word_embeddings", c.tie_word_embeddings},
           {"torch_dtype", stored == DType::kBf16 ? "bfloat16" : "float32"},
           {"use_cache", true},
           {"norm_scheme", norm}};
  if (c.bos_token_id >= 0) out["bos_token_id"] = c.bos_token_id;
  if (c.eos_token_id >= 0) out["eos_token_id"] = c.eos_token_id;
  if (c.eos_token_id >= 0 && !c.more_eos_token_ids.empty()) {
    json ids = json::array({c.eos_token_id});
    for (const long id : c.more_eos_token_ids) ids.push_back(id);
    out["eos_token_id"] = ids;
  }
  write_family(c, out);
  return out;
}

ModelConfig read_config(const std::filesystem::path& folder_or_file) {
  if (is_adapter(folder_or_file)) return read_config(adapter_base(folder_or_file));
  if (is_gguf(folder_or_file)) return config_from_gguf(GgufFile(folder_or_file));
  const std::filesystem::path path =
      std::filesystem::is_directory(folder_or_file) ? folder_or_file / "config.json" : folder_or_file;
  const json object = parse_json_object(read_text_file(path, kMaxConfigBytes), path);
  return config_from_json(object, path.string());
}

}  // namespace fathom
