#include "io/gguf_model.h"

#include <array>

#include <nlohmann/json.hpp>

#include "io/checkpoint.h"
#include "io/dequantize.h"
#include "io/families.h"
#include "io/io_error.h"
#include "io/rope_factors.h"

namespace fathom {
namespace {

using nlohmann::json;

struct Architecture {
  const char* gguf;
  const char* huggingface;
  size_t layers_of_largest;  ///< Gemma: the 27B models scale scores by hidden size / heads; 0: none does
};
constexpr std::array kArchitectures = {
    Architecture{"llama", "LlamaForCausalLM", 0},    Architecture{"qwen2", "Qwen2ForCausalLM", 0},
    Architecture{"qwen3", "Qwen3ForCausalLM", 0},    Architecture{"olmo2", "Olmo2ForCausalLM", 0},
    Architecture{"gemma2", "Gemma2ForCausalLM", 46}, Architecture{"gemma3", "Gemma3ForCausalLM", 62},
};

const Architecture& architecture_of(const GgufMetadata& meta) {
  const std::string name = meta.text("general.architecture");
  std::string known;
  for (const Architecture& a : kArchitectures) {
    if (name == a.gguf) return a;
    known += (known.empty() ? "" : ", ") + std::string(a.gguf);
  }
  meta.bad("general.architecture", "is '" + name + "', which is not supported" + what_is_not_computed(name) +
                                       "; supported: " + known);
}

json scaling_of(const GgufMetadata& meta, const std::string& prefix) {
  const std::string type = meta.text(prefix + "rope.scaling.type", "none");
  if (type == "none") return {};
  json scaling{{"rope_type", type}, {"factor", meta.real(prefix + "rope.scaling.factor", 1.0)}};
  const std::string original = prefix + "rope.scaling.original_context_length";
  if (meta.has(original)) scaling["original_max_position_embeddings"] = meta.size(original);
  return scaling;
}

// What the metadata say, in the words of config.json.
json as_config_json(const GgufFile& file) {
  const GgufMetadata& meta = file.metadata();
  const Architecture& architecture = architecture_of(meta);
  const std::string prefix = std::string(architecture.gguf) + ".";
  if (meta.size(prefix + "expert_count", 0) > 0)
    meta.bad(prefix + "expert_count", "is not 0: mixtures of experts are not computed yet");
  const uint64_t hidden = meta.size(prefix + "embedding_length"), layers = meta.size(prefix + "block_count");
  const uint64_t heads = meta.size(prefix + "attention.head_count");
  if (heads == 0) meta.bad(prefix + "attention.head_count", "is 0");
  const uint64_t head_dim = meta.size(prefix + "attention.key_length", hidden / heads);
  if (meta.size(prefix + "attention.value_length", head_dim) != head_dim)
    meta.bad(prefix + "attention.value_length", "differs from the length of keys, which is not supported");
  if (meta.size(prefix + "rope.dimension_count", head_dim) != head_dim)
    meta.bad(prefix + "rope.dimension_count", "is not the head size, which is not supported");
  const TensorView& embedding = file.at("token_embd.weight");
  json config{{"architectures", {architecture.huggingface}},
              {"hidden_size", hidden},
              {"intermediate_size", meta.size(prefix + "feed_forward_length")},
              {"num_hidden_layers", layers},
              {"num_attention_heads", heads},
              {"num_key_value_heads", meta.size(prefix + "attention.head_count_kv", heads)},
              {"head_dim", head_dim},
              {"vocab_size", embedding.rows()},
              {"max_position_embeddings", meta.size(prefix + "context_length")},
              {"rms_norm_eps", meta.real(prefix + "attention.layer_norm_rms_epsilon")},
              {"rope_theta", meta.real(prefix + "rope.freq_base", 10000.0)},
              {"attention_bias", file.find("blk.0.attn_q.bias") != nullptr},
              {"tie_word_embeddings", file.find("output.weight") == nullptr}};
  if (json scaling = scaling_of(meta, prefix); !scaling.is_null())
    config["rope_scaling"] = std::move(scaling);
  const auto copy_real = [&](const char* to, const std::string& from) {
    if (meta.has(prefix + from)) config[to] = meta.real(prefix + from);
  };
  if (meta.has(prefix + "attention.sliding_window")) {
    config["sliding_window"] = meta.size(prefix + "attention.sliding_window");
    // What a GGUF calls llama may be a Mistral; of the two classes that is the one with a window.
    if (architecture.gguf == std::string("llama")) config["architectures"] = {"MistralForCausalLM"};
  }
  // An array names the layers that have the window; without one the family's own pattern holds.
  const GgufValue* pattern = meta.find(prefix + "attention.sliding_window_pattern");
  if (pattern != nullptr && pattern->type == GgufType::kArray) {
    for (const int64_t windowed : meta.integers(prefix + "attention.sliding_window_pattern"))
      config["layer_types"].push_back(windowed != 0 ? "sliding_attention" : "full_attention");
  }
  copy_real("attn_logit_softcapping", "attn_logit_softcapping");
  copy_real("final_logit_softcapping", "final_logit_softcapping");
  copy_real("rope_local_base_freq", "rope.freq_base_swa");
  if (architecture.layers_of_largest > 0)
    config["query_pre_attn_scalar"] = layers == architecture.layers_of_largest ? hidden / heads : head_dim;
  const auto copy_id = [&](const char* to, const char* from) {
    if (meta.has(from)) config[to] = meta.size(from);
  };
  copy_id("bos_token_id", "tokenizer.ggml.bos_token_id");
  copy_id("eos_token_id", "tokenizer.ggml.eos_token_id");
  return config;
}

}  // namespace

bool is_gguf(const std::filesystem::path& path) {
  return path.extension() == ".gguf" && !std::filesystem::is_directory(path);
}

ModelConfig config_from_gguf(const GgufFile& file) {
  ModelConfig config = config_from_json(as_config_json(file), file.path().string());
  if (const TensorView* factors = file.find(kGgufRopeFactors)) {
    if (factors->elements() != config.head_dim / 2) {
      fail_tensor(factors->path(), kGgufRopeFactors,
                  "has " + std::to_string(factors->elements()) + " elements, half a head has " +
                      std::to_string(config.head_dim / 2),
                  factors->offset);
    }
    config.rope_scaling.type = RopeScaling::Type::kFactors;
    config.rope_scaling.factors.resize(factors->elements());
    read_tensor(config.rope_scaling.factors.data(), *factors);
    // The formula that the list was made by, where it is one: what config.json says of it, and so what a run
    // computes that began with this file and goes on from its own config.
    if (const auto llama3 = recognize_llama3(config.head_dim, config.rope_theta, config.rope_scaling.factors))
      config.rope_scaling = *llama3;
    validate(config, file.path().string());
  }
  return config;
}

}  // namespace fathom
