#include "io/gguf_model.h"

#include <array>
#include <set>
#include <vector>

#include <nlohmann/json.hpp>

#include "io/checkpoint.h"
#include "io/dequantize.h"
#include "io/io_error.h"
#include "io/rope_permutation.h"

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

constexpr const char* kRopeFactors = "rope_freqs.weight";

const Architecture& architecture_of(const GgufMetadata& meta) {
  const std::string name = meta.text("general.architecture");
  std::string known;
  for (const Architecture& a : kArchitectures) {
    if (name == a.gguf) return a;
    known += (known.empty() ? "" : ", ") + std::string(a.gguf);
  }
  meta.bad("general.architecture", "is '" + name + "', which is not supported; supported: " + known);
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
  if (meta.has(prefix + "attention.sliding_window"))
    config["sliding_window"] = meta.size(prefix + "attention.sliding_window");
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

bool is_q_or_k(ParamRole role) {
  return role == ParamRole::kQ || role == ParamRole::kK || role == ParamRole::kQBias ||
         role == ParamRole::kKBias;
}

template <class S>
void read_weight(S* out, const ParamSpec& spec, const StoredWeight& weight, bool permuted, size_t head_dim) {
  if (!permuted || !is_q_or_k(spec.role)) return dequantize(out, weight);
  std::vector<S> rows(spec.size());
  dequantize(rows.data(), weight);
  const size_t columns = spec.is_matrix() ? spec.shape[1] : 1;
  unpermute_qk(out, rows.data(), spec.shape[0], columns, head_dim);
}

}  // namespace

bool is_gguf(const std::filesystem::path& path) {
  return path.extension() == ".gguf" && !std::filesystem::is_directory(path);
}

ModelConfig config_from_gguf(const GgufFile& file) {
  ModelConfig config = config_from_json(as_config_json(file), file.path().string());
  if (const TensorView* factors = file.find(kRopeFactors)) {
    if (factors->elements() != config.head_dim / 2) {
      fail_tensor(factors->path(), kRopeFactors,
                  "has " + std::to_string(factors->elements()) + " elements, half a head has " +
                      std::to_string(config.head_dim / 2),
                  factors->offset);
    }
    config.rope_scaling.type = RopeScaling::Type::kFactors;
    config.rope_scaling.factors.resize(factors->elements());
    read_tensor(config.rope_scaling.factors.data(), *factors);
    validate(config, file.path().string());
  }
  return config;
}

template <class W>
void load_gguf_weights(ResidentWeights<W>& weights, const GgufFile& file) {
  const bool permuted = gguf_permutes_qk(file.metadata().text("general.architecture"));
  std::set<std::string> used{kRopeFactors};
  for (const ParamSpec& spec : weights.list()) {
    const StoredWeight weight = find_weight(file, spec.gguf_name);
    const TensorView& tensor = *weight.tensor;
    if (tensor.shape != spec.shape) {
      fail_tensor(
          tensor.path(), spec.gguf_name,
          "has shape " + shape_text(tensor.shape) + ", the metadata ask for " + shape_text(spec.shape),
          tensor.offset);
    }
    read_weight(weights.values(spec), spec, weight, permuted, weights.config().head_dim);
    tensor.drop();  // read once
    used.insert(spec.gguf_name);
  }
  for (const auto& [name, tensor] : file.tensors()) {
    if (used.contains(name)) continue;
    fail_tensor(tensor.path(), name, "is not part of the model that the metadata describe", tensor.offset,
                "is it another architecture?");
  }
  weights.refresh();
}

template void load_gguf_weights(ResidentWeights<double>&, const GgufFile&);
template void load_gguf_weights(ResidentWeights<float>&, const GgufFile&);
template void load_gguf_weights(ResidentWeights<bf16>&, const GgufFile&);

}  // namespace fathom
