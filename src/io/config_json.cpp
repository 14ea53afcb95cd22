// config.json <-> ModelConfig, in Hugging Face's keys, with "norm_scheme" for what Hugging Face has no key
// for.

#include <cmath>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "io/checkpoint.h"

namespace fathom {
namespace {

using nlohmann::json;

// A whole number from 0 up, whether it was parsed (unsigned) or built in memory (signed).
bool is_size(const json& value) {
  return value.is_number_unsigned() || (value.is_number_integer() && value.get<int64_t>() >= 0);
}

// Reads keys of one JSON object and says which key of which file is wrong.
class Keys {
 public:
  Keys(const json& object, std::string origin) : object_(object), origin_(std::move(origin)) {}

  [[noreturn]] void bad(const std::string& key, const std::string& what, const std::string& hint = {}) const {
    fail({.what = "'" + key + "' " + what,
          .path = origin_,
          .tensor = {},
          .offset = {},
          .line = {},
          .hint = hint});
  }
  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  size_t size(const char* key) const {
    if (!has(key)) bad(key, "is missing");
    return size(key, 0);
  }
  size_t size(const char* key, size_t fallback) const {
    if (!has(key)) return fallback;
    if (!is_size(object_[key])) bad(key, "must be a whole number from 0 up");
    return object_[key].get<size_t>();
  }
  double real(const char* key, double fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_number()) bad(key, "must be a number");
    return object_[key].get<double>();
  }
  bool boolean(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_boolean()) bad(key, "must be true or false");
    return object_[key].get<bool>();
  }
  std::string text(const char* key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_string()) bad(key, "must be a string");
    return object_[key].get<std::string>();
  }
  // Some configs hold a list of ids; the first one stands for it.
  long id(const char* key) const {
    if (!has(key)) return -1;
    const json& value = object_[key].is_array() && !object_[key].empty() ? object_[key][0] : object_[key];
    if (!value.is_number_integer()) bad(key, "must be a token id");
    return value.get<long>();
  }
  std::vector<size_t> sizes(const char* key) const {
    std::vector<size_t> list;
    if (!has(key)) return list;
    if (!object_[key].is_array()) bad(key, "must be a list of layer numbers");
    for (const json& v : object_[key]) {
      if (!is_size(v)) bad(key, "must be a list of layer numbers");
      list.push_back(v.get<size_t>());
    }
    return list;
  }

 private:
  const json& object_;
  std::string origin_;
};

NormScheme scheme_from_json(const json& object, const std::string& origin) {
  if (!object.is_object()) {
    fail({.what = "'norm_scheme' must be an object with a \"type\"",
          .path = origin,
          .tensor = {},
          .offset = {},
          .line = {},
          .hint = {}});
  }
  const Keys keys(object, origin);
  if (!keys.has("type")) keys.bad("norm_scheme.type", "is missing");
  NormScheme scheme;
  try {
    scheme.type = parse_norm(keys.text("type", ""));
  } catch (const Error& e) {
    fail({.what = e.fields().what,
          .path = origin,
          .tensor = {},
          .offset = {},
          .line = {},
          .hint = e.fields().hint});
  }
  scheme.alpha = keys.real("alpha", 0.0);
  if (!std::isfinite(scheme.alpha) || scheme.alpha < 0) keys.bad("norm_scheme.alpha", "must be above 0");
  scheme.post_layers = keys.size("post_layers", NormScheme::kDefault);
  scheme.layerscale_init = keys.real("layerscale_init", scheme.layerscale_init);
  scheme.num_layers_original = keys.size("num_layers_original", 0);
  scheme.layer_index = keys.sizes("layer_index");
  return scheme;
}

// What this program does not compute must be refused, not ignored.
void refuse_unsupported(const Keys& keys, const json& object) {
  if (keys.has("rope_scaling")) keys.bad("rope_scaling", "is not supported yet", "plain RoPE only");
  const std::string activation = keys.text("hidden_act", "silu");
  if (activation != "silu") keys.bad("hidden_act", "is '" + activation + "'", "supported: silu (SwiGLU)");
  if (keys.boolean("mlp_bias", false)) keys.bad("mlp_bias", "is not supported");
  const char* known[] = {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "FathomForCausalLM"};
  if (!keys.has("architectures")) return;
  if (!object["architectures"].is_array() || object["architectures"].empty() ||
      !object["architectures"][0].is_string()) {
    keys.bad("architectures", "must be a list with one name");
  }
  const auto name = object["architectures"][0].get<std::string>();
  std::string names;
  for (const char* k : known) {
    if (name == k) return;
    names += (names.empty() ? "" : ", ") + std::string(k);
  }
  keys.bad("architectures", "names '" + name + "'", "supported: " + names);
}

}  // namespace

ModelConfig config_from_json(const json& object, const std::string& origin) {
  if (!object.is_object()) {
    fail(
        {.what = "is not a JSON object", .path = origin, .tensor = {}, .offset = {}, .line = {}, .hint = {}});
  }
  const Keys keys(object, origin);
  refuse_unsupported(keys, object);
  ModelConfig c;
  c.hidden_size = keys.size("hidden_size");
  c.intermediate_size = keys.size("intermediate_size");
  c.num_hidden_layers = keys.size("num_hidden_layers");
  c.num_attention_heads = keys.size("num_attention_heads");
  c.num_key_value_heads = keys.size("num_key_value_heads", c.num_attention_heads);
  c.head_dim = keys.size("head_dim", c.num_attention_heads > 0 ? c.hidden_size / c.num_attention_heads : 0);
  if (!keys.has("head_dim") && c.num_attention_heads > 0 && c.hidden_size % c.num_attention_heads != 0) {
    keys.bad("num_attention_heads",
             "is " + std::to_string(c.num_attention_heads) + ", which does not divide hidden_size " +
                 std::to_string(c.hidden_size),
             "change one of them, or give head_dim");
  }
  c.vocab_size = keys.size("vocab_size");
  c.max_position_embeddings = keys.size("max_position_embeddings", keys.size("max_sequence_length", 2048));
  const bool qwen = keys.text("model_type", "") == "qwen2";
  // Qwen2's config names a window that is off unless use_sliding_window says otherwise.
  if (!qwen || keys.boolean("use_sliding_window", false)) c.sliding_window = keys.size("sliding_window", 0);
  c.rms_norm_eps = keys.real("rms_norm_eps", 1e-6);
  c.rope_theta = keys.real("rope_theta", 10000.0);
  c.initializer_range = keys.real("initializer_range", 0.02);
  c.tie_word_embeddings = keys.boolean("tie_word_embeddings", false);
  c.attention_bias = keys.boolean("attention_bias", qwen);
  c.bos_token_id = keys.id("bos_token_id");
  c.eos_token_id = keys.id("eos_token_id");
  if (keys.has("norm_scheme")) c.norm = scheme_from_json(object["norm_scheme"], origin);
  validate(c, origin);
  return c;
}

json config_to_json(const ModelConfig& c, DType stored) {
  const bool plain = is_plain_llama(c.norm);
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
           {"rope_theta", c.rope_theta},
           {"initializer_range", c.initializer_range},
           {"tie_word_embeddings", c.tie_word_embeddings},
           {"attention_bias", c.attention_bias},
           {"hidden_act", "silu"},
           {"torch_dtype", stored == DType::kBf16 ? "bfloat16" : "float32"},
           {"use_cache", true},
           {"norm_scheme", norm}};
  if (c.bos_token_id >= 0) out["bos_token_id"] = c.bos_token_id;
  if (c.eos_token_id >= 0) out["eos_token_id"] = c.eos_token_id;
  if (c.sliding_window > 0) out["sliding_window"] = c.sliding_window;
  // A stock class must compute our logits exactly: Qwen2's biases (Llama's attention_bias also has one on o)
  // and Mistral's window have stock classes of their own; with both, or with another scheme, only our class
  // will do.
  if (plain && c.attention_bias && c.sliding_window == 0) {
    out["architectures"] = {"Qwen2ForCausalLM"};
    out["model_type"] = "qwen2";
    out["use_sliding_window"] = false;
  } else if (plain && c.sliding_window > 0 && !c.attention_bias) {
    out["architectures"] = {"MistralForCausalLM"};
    out["model_type"] = "mistral";
  } else if (plain && !c.attention_bias) {
    out["architectures"] = {"LlamaForCausalLM"};
    out["model_type"] = "llama";
  } else {
    out["architectures"] = {"FathomForCausalLM"};
    out["model_type"] = "fathom";
    out["auto_map"] = {{"AutoConfig", "modeling_fathom.FathomConfig"},
                       {"AutoModelForCausalLM", "modeling_fathom.FathomForCausalLM"}};
  }
  return out;
}

ModelConfig read_config(const std::filesystem::path& folder_or_file) {
  const std::filesystem::path path =
      std::filesystem::is_directory(folder_or_file) ? folder_or_file / "config.json" : folder_or_file;
  const json object =
      json::parse(read_text_file(path, size_t{16} << 20), nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded()) {
    fail({.what = "is not valid JSON",
          .path = path.string(),
          .tensor = {},
          .offset = {},
          .line = {},
          .hint = {}});
  }
  return config_from_json(object, path.string());
}

}  // namespace fathom
