#include "io/families.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <initializer_list>

#include "core/log.h"
#include "io/rope_factors.h"

namespace fathom {
namespace {

using nlohmann::json;

// Defaults are those of the classes' own configuration files in `transformers`: a config.json leaves out what
// equals them.

// Which layers have the window. `period`: every period-th layer sees everything.
std::vector<bool> windowed_but_every(size_t layers, size_t period) {
  std::vector<bool> windowed(layers);
  for (size_t l = 0; l < layers; ++l) windowed[l] = (l + 1) % period != 0;
  return windowed;
}

void read_layer_types(const JsonKeys& keys, ModelConfig& c) {
  const std::vector<std::string> types = keys.texts("layer_types");
  if (types.empty()) return;
  c.windowed.clear();
  for (const std::string& type : types) {
    if (type != "sliding_attention" && type != "full_attention")
      keys.bad("layer_types", "names '" + type + "'", "supported: full_attention, sliding_attention");
    c.windowed.push_back(type == "sliding_attention");
  }
}

// The class knows no window: a config that was made of another family's may still name one.
void read_llama(const JsonKeys& keys, ModelConfig& c) {
  c.head_dim = keys.size("head_dim", 0);
  c.attention_bias = keys.boolean("attention_bias", false);
  if (keys.has("sliding_window") && keys.boolean("use_sliding_window", true)) {
    log_warning(keys.origin() +
                ": sliding_window is ignored, as by this architecture's class in transformers");
  }
}

void read_mistral(const JsonKeys& keys, ModelConfig& c) {
  c.head_dim = keys.size("head_dim", 0);
  c.attention_bias = keys.boolean("attention_bias", false);
  c.sliding_window = keys.is_null("sliding_window") ? 0 : keys.size("sliding_window", 4096);
}

void read_fathom(const JsonKeys& keys, ModelConfig& c) {
  c.head_dim = keys.size("head_dim", 0);
  c.attention_bias = keys.boolean("attention_bias", false);
  c.sliding_window = keys.size("sliding_window", 0);
}

void read_qwen2(const JsonKeys& keys, ModelConfig& c) {
  c.head_dim = keys.size("head_dim", 0);
  c.attention_bias = keys.boolean("attention_bias", true);
  // The file names a window that is off unless use_sliding_window says otherwise, and then is on from layer
  // max_window_layers up.
  if (!keys.boolean("use_sliding_window", false)) return;
  c.sliding_window = keys.is_null("sliding_window") ? 0 : keys.size("sliding_window", 4096);
  const size_t first = keys.size("max_window_layers", 28);
  c.windowed.resize(c.num_hidden_layers);
  for (size_t l = 0; l < c.windowed.size(); ++l) c.windowed[l] = l >= first;
  read_layer_types(keys, c);
}

void read_qwen3(const JsonKeys& keys, ModelConfig& c) {
  read_qwen2(keys, c);
  c.head_dim = keys.size("head_dim", 128);
  c.attention_bias = keys.boolean("attention_bias", false);
  c.qk_norm = QkNorm::kHead;
}

void read_olmo2(const JsonKeys& keys, ModelConfig& c) {
  read_llama(keys, c);
  c.rms_norm_eps = keys.real("rms_norm_eps", 1e-5);
  c.qk_norm = QkNorm::kWhole;
  c.norm.type = NormType::kReordered;
}

void read_gemma(const JsonKeys& keys, ModelConfig& c) {
  c.head_dim = keys.size("head_dim", 256);
  c.attention_bias = keys.boolean("attention_bias", false);
  c.sliding_window = keys.size("sliding_window", 4096);
  c.tie_word_embeddings = keys.boolean("tie_word_embeddings", true);
  c.norm.type = NormType::kSandwich;
  c.norm_weight_offset = 1.0;
  c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  c.query_pre_attn_scalar = keys.real("query_pre_attn_scalar", 256.0);
  if (!(c.query_pre_attn_scalar > 0)) keys.bad("query_pre_attn_scalar", "must be above 0");
}

// A cap that the file leaves out has the class's value; null says that there is none.
double read_cap(const JsonKeys& keys, const char* key, double fallback) {
  return keys.is_null(key) ? 0.0 : keys.real(key, fallback);
}

void read_gemma2(const JsonKeys& keys, ModelConfig& c) {
  read_gemma(keys, c);
  c.attention_softcap = read_cap(keys, "attn_logit_softcapping", 50.0);
  c.final_softcap = read_cap(keys, "final_logit_softcapping", 30.0);
  c.windowed = windowed_but_every(c.num_hidden_layers, 2);
  read_layer_types(keys, c);
}

void read_gemma3(const JsonKeys& keys, ModelConfig& c) {
  read_gemma(keys, c);
  c.attention_softcap = keys.real("attn_logit_softcapping", 0.0);
  c.final_softcap = keys.real("final_logit_softcapping", 0.0);
  c.qk_norm = QkNorm::kHead;
  c.rope_theta = 1e6;
  c.local_rope_theta = keys.real("rope_local_base_freq", 10000.0);
  const size_t period = keys.size("sliding_window_pattern", 6);
  if (period == 0) keys.bad("sliding_window_pattern", "must be above 0");
  c.windowed = windowed_but_every(c.num_hidden_layers, period);
  read_layer_types(keys, c);
}

struct Family {
  const char* architecture;
  const char* model_type;
  const char* activation;  ///< the only one that the family has
  void (*read)(const JsonKeys&, ModelConfig&);
};

// THE table.
constexpr std::array kFamilies = {
    Family{"LlamaForCausalLM", "llama", "silu", read_llama},
    Family{"MistralForCausalLM", "mistral", "silu", read_mistral},
    Family{"Qwen2ForCausalLM", "qwen2", "silu", read_qwen2},
    Family{"Qwen3ForCausalLM", "qwen3", "silu", read_qwen3},
    Family{"Olmo2ForCausalLM", "olmo2", "silu", read_olmo2},
    Family{"Gemma2ForCausalLM", "gemma2", "gelu_pytorch_tanh", read_gemma2},
    Family{"Gemma3ForCausalLM", "gemma3_text", "gelu_pytorch_tanh", read_gemma3},
    Family{"FathomForCausalLM", "fathom", "silu", read_fathom},
};

const Family* find_family(const std::string& name, const char* Family::*key) {
  const auto* found =
      std::find_if(kFamilies.begin(), kFamilies.end(), [&](const Family& f) { return name == f.*key; });
  return found == kFamilies.end() ? nullptr : found;
}

std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

const Family& family_of(const JsonKeys& keys) {
  const std::vector<std::string> classes = keys.texts("architectures");
  const std::string type = keys.text("model_type", "");
  if (keys.has("architectures") && classes.empty()) keys.bad("architectures", "must be a list with one name");
  const Family* family = !classes.empty() ? find_family(classes[0], &Family::architecture)
                         : !type.empty()  ? find_family(type, &Family::model_type)
                                          : &kFamilies[0];
  if (family != nullptr) return *family;
  const std::string name = classes.empty() ? type : classes[0];
  keys.bad(classes.empty() ? "model_type" : "architectures",
           "names '" + name + "', which is not supported" + what_is_not_computed(name),
           "supported: " + list_of(supported_architectures()));
}

void read_activation(const JsonKeys& keys, const Family& family, ModelConfig& c) {
  const std::string name = keys.text("hidden_activation", keys.text("hidden_act", family.activation));
  // Gemma's first files say "gelu" and mean its tanh form, which `transformers` runs whatever they say.
  const bool gelu = name == "gelu_pytorch_tanh" || (name == "gelu" && c.norm_weight_offset == 1.0);
  if (name != "silu" && !gelu)
    keys.bad("hidden_act", "is '" + name + "'", "supported: silu (SwiGLU), gelu_pytorch_tanh (GeGLU)");
  c.activation = gelu ? GateActivation::kGeluTanh : GateActivation::kSilu;
}

RopeScaling::Type scaling_type(const JsonKeys& keys, const std::string& name) {
  if (name == "default") return RopeScaling::Type::kNone;
  for (const auto type : {RopeScaling::Type::kLinear, RopeScaling::Type::kLlama3, RopeScaling::Type::kYarn}) {
    if (name == rope_scaling_name(type)) return type;
  }
  keys.bad("rope_type", "is '" + name + "'", "supported: default, linear, llama3, yarn");
}

RopeScaling read_scaling(const JsonKeys& keys, const ModelConfig& c) {
  RopeScaling s;
  s.type = scaling_type(keys, keys.text("rope_type", keys.text("type", "default")));
  if (s.type == RopeScaling::Type::kNone) return s;
  if (!keys.has("factor")) keys.bad("factor", "is missing");
  s.factor = keys.real("factor", 1.0);
  s.original_context =
      keys.real("original_max_position_embeddings", static_cast<double>(c.max_position_embeddings));
  s.low_freq_factor = keys.real("low_freq_factor", s.low_freq_factor);
  s.high_freq_factor = keys.real("high_freq_factor", s.high_freq_factor);
  s.beta_fast = keys.real("beta_fast", s.beta_fast);
  s.beta_slow = keys.real("beta_slow", s.beta_slow);
  s.attention_factor = keys.real("attention_factor", 0.0);
  s.mscale = keys.real("mscale", 0.0);
  s.mscale_all_dim = keys.real("mscale_all_dim", 0.0);
  s.truncate = keys.boolean("truncate", true);
  return s;
}

void refuse_partial_rotary(const JsonKeys& keys) {
  if (keys.real("partial_rotary_factor", 1.0) != 1.0) keys.bad("partial_rotary_factor", "is not supported");
}

// rope_theta and rope_scaling, or rope_parameters, which holds both since transformers 5; there Gemma 3 has
// one for each kind of layer.
void read_rope(const JsonKeys& keys, ModelConfig& c) {
  c.rope_theta = keys.real("rope_theta", c.rope_theta);
  refuse_partial_rotary(keys);
  if (keys.has("rope_scaling")) c.rope_scaling = read_scaling(keys.object("rope_scaling"), c);
  if (!keys.has("rope_parameters")) return;
  const JsonKeys rope = keys.object("rope_parameters");
  refuse_partial_rotary(rope);
  if (rope.has("full_attention")) {
    const JsonKeys full = rope.object("full_attention");
    refuse_partial_rotary(full);
    c.rope_theta = full.real("rope_theta", c.rope_theta);
    c.rope_scaling = read_scaling(full, c);
    if (rope.has("sliding_attention")) {
      const JsonKeys local = rope.object("sliding_attention");
      refuse_partial_rotary(local);
      c.local_rope_theta = local.real("rope_theta", c.local_rope_theta);
    }
    return;
  }
  c.rope_theta = rope.real("rope_theta", c.rope_theta);
  c.rope_scaling = read_scaling(rope, c);
}

void write_rope(const ModelConfig& c, json& out) {
  out["rope_theta"] = c.rope_theta;
  RopeScaling s = c.rope_scaling;
  if (s.type == RopeScaling::Type::kNone) return;
  // GGUF files hold Llama 3's scaling as a list.
  if (s.type == RopeScaling::Type::kFactors)
    s = recognize_llama3(c.head_dim, c.rope_theta, s.factors).value_or(s);
  if (s.type == RopeScaling::Type::kFactors) {
    fail(
        "the model's RoPE is scaled by a list of factors, as GGUF files hold it: config.json has no form for "
        "it",
        "write from the original checkpoint");
  }
  json& scaling = out["rope_scaling"];
  scaling = {{"rope_type", rope_scaling_name(s.type)}, {"factor", s.factor}};
  if (s.type == RopeScaling::Type::kLinear) return;
  scaling["original_max_position_embeddings"] = static_cast<size_t>(s.original_context);
  if (s.type == RopeScaling::Type::kLlama3) {
    scaling["low_freq_factor"] = s.low_freq_factor;
    scaling["high_freq_factor"] = s.high_freq_factor;
    return;
  }
  const RopeScaling defaults;
  if (s.beta_fast != defaults.beta_fast) scaling["beta_fast"] = s.beta_fast;
  if (s.beta_slow != defaults.beta_slow) scaling["beta_slow"] = s.beta_slow;
  if (s.attention_factor > 0) scaling["attention_factor"] = s.attention_factor;
  if (s.mscale > 0) scaling["mscale"] = s.mscale;
  if (s.mscale_all_dim > 0) scaling["mscale_all_dim"] = s.mscale_all_dim;
  if (!s.truncate) scaling["truncate"] = false;
}

void write_windows(const ModelConfig& c, json& out) {
  if (c.sliding_window == 0) {
    if (out["model_type"] == "qwen2" || out["model_type"] == "qwen3") out["use_sliding_window"] = false;
    return;
  }
  out["sliding_window"] = c.sliding_window;
  if (out["model_type"] == "qwen2" || out["model_type"] == "qwen3") {
    out["use_sliding_window"] = true;
    out["max_window_layers"] = std::find(c.windowed.begin(), c.windowed.end(), true) - c.windowed.begin();
  }
  if (c.windowed.empty()) return;
  for (const bool w : c.windowed) out["layer_types"].push_back(w ? "sliding_attention" : "full_attention");
}

}  // namespace

std::string what_is_not_computed(const std::string& architecture) {
  std::string name;
  for (const char c : architecture) name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto is_one_of = [&](std::initializer_list<const char*> parts) {
    return std::any_of(parts.begin(), parts.end(),
                       [&](const char* part) { return name.find(part) != std::string::npos; });
  };
  // DeepSeek-V2, V3 and R1, as Hugging Face and as GGUF write them, and those built like them.
  if (is_one_of({"deepseekv", "deepseek_v", "deepseek2", "kimi"}))
    return " (latent attention and mixtures of experts are not computed yet)";
  if (is_one_of({"moe", "mixtral", "gptoss", "gpt_oss", "gpt-oss", "dbrx", "grok", "llama4", "deepseek"}))
    return " (mixtures of experts are not computed yet)";
  return {};
}

std::vector<std::string> supported_architectures() {
  std::vector<std::string> names;
  for (const Family& f : kFamilies) names.emplace_back(f.architecture);
  return names;
}

void read_family(const JsonKeys& keys, ModelConfig& c) {
  const Family& family = family_of(keys);
  for (const char* experts : {"num_experts", "num_local_experts", "n_routed_experts"}) {
    if (keys.has(experts) && keys.size(experts) > 1)
      keys.bad(experts, "is above 1: mixtures of experts are not computed yet");
  }
  c.family = family.model_type;
  family.read(keys, c);
  read_activation(keys, family, c);
  read_rope(keys, c);
}

// The family that it was read as where its own scheme is in force; else by what it has.
std::string model_type_for(const ModelConfig& c) {
  const bool plain = is_plain_llama(c.norm);
  const bool extras = c.qk_norm != QkNorm::kNone || c.activation != GateActivation::kSilu ||
                      c.embedding_scale != 1.0 || c.attention_softcap > 0 || c.final_softcap > 0 ||
                      c.query_pre_attn_scalar > 0 || c.norm_weight_offset != 0 || c.local_rope_theta > 0;
  const bool same_scheme = c.family == "olmo2" ? c.norm.type == NormType::kReordered
                           : c.family == "gemma2" || c.family == "gemma3_text"
                               ? c.norm.type == NormType::kSandwich
                               : plain;
  if (extras) return same_scheme && !c.family.empty() ? c.family : "";
  if (c.family == "qwen2" && plain) return c.family;
  // Qwen2's biases (Llama's attention_bias also has one on o) and Mistral's window have stock classes of
  // their own; with both, or with another scheme, only our class will do.
  if (plain && c.attention_bias && c.sliding_window == 0) return "qwen2";
  if (plain && c.sliding_window > 0 && c.windowed.empty() && !c.attention_bias) return "mistral";
  if (plain && c.sliding_window == 0 && !c.attention_bias) return "llama";
  const bool ours = c.windowed.empty() && c.rope_scaling.type == RopeScaling::Type::kNone;
  return ours ? "fathom" : "";
}

void write_family(const ModelConfig& c, json& out) {
  const std::string type = model_type_for(c);
  const Family* family = find_family(type, &Family::model_type);
  if (family == nullptr) {
    fail("a model of the family '" + c.family + "' with the normalization scheme '" +
             std::string(norm_name(c.norm.type)) + "' can't be written: no class of transformers computes it",
         "keep the family's own scheme");
  }
  out["architectures"] = {family->architecture};
  out["model_type"] = type;
  const bool gemma = c.norm_weight_offset == 1.0;
  out[gemma ? "hidden_activation" : "hidden_act"] = family->activation;
  out["attention_bias"] = c.attention_bias;
  write_rope(c, out);
  write_windows(c, out);
  if (gemma) {
    out["query_pre_attn_scalar"] = c.query_pre_attn_scalar;
    out["attn_logit_softcapping"] = c.attention_softcap > 0 ? json(c.attention_softcap) : json();
    out["final_logit_softcapping"] = c.final_softcap > 0 ? json(c.final_softcap) : json();
    if (c.local_rope_theta > 0) out["rope_local_base_freq"] = c.local_rope_theta;
  }
  if (type == "fathom") {
    out["auto_map"] = {{"AutoConfig", "modeling_fathom.FathomConfig"},
                       {"AutoModelForCausalLM", "modeling_fathom.FathomForCausalLM"}};
  }
}

}  // namespace fathom
