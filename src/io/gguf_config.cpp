#include "io/gguf_config.h"

#include <cmath>

#include "core/error.h"
#include "io/families.h"

namespace fathom {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& hint = "--format hf holds it") {
  fail("the model can't be written as GGUF: " + what, hint);
}

struct Architecture {
  const char* model_type;
  const char* gguf;
  size_t window_period;      ///< every period-th layer sees everything; 0: no layer has a window in llama.cpp
  size_t layers_of_largest;  ///< scores of the model with so many layers are scaled by hidden size / heads
  bool whole_heads;          ///< needs hidden size = heads x head size
};
constexpr Architecture kArchitectures[] = {
    {"llama", "llama", 0, 0, false},         {"mistral", "llama", 0, 0, false},
    {"qwen2", "qwen2", 0, 0, true},          {"qwen3", "qwen3", 0, 0, false},
    {"olmo2", "olmo2", 0, 0, true},          {"gemma2", "gemma2", 2, 46, false},
    {"gemma3_text", "gemma3", 6, 62, false},
};

const Architecture& row_for(const ModelConfig& c) {
  const std::string type = model_type_for(c);
  for (const Architecture& row : kArchitectures) {
    // llama.cpp's qwen2 needs whole heads; its llama has optional biases and computes the same.
    if (type == "qwen2" && c.q_size() != c.hidden_size) return kArchitectures[0];
    if (type == row.model_type) return row;
  }
  const bool folds = c.norm.type == NormType::kLns || c.norm.type == NormType::kLayerScale;
  if (!is_plain_llama(c.norm)) {
    refuse("it has no form for the normalization scheme '" + std::string(norm_name(c.norm.type)) + "'",
           folds ? "--fold-norm-scale multiplies its constants into the weights" : "--format hf holds it");
  }
  refuse("no architecture of llama.cpp has all of its parts (biases with a sliding window, and the like)");
}

void check_rope(const RopeScaling& s, const std::string& architecture) {
  const RopeScaling usual;
  const bool factors = s.type == RopeScaling::Type::kLlama3 || s.type == RopeScaling::Type::kFactors;
  if (factors && architecture != "llama")
    refuse("llama.cpp's " + architecture + " reads no factors of RoPE, and this model's is scaled by them");
  if (s.type != RopeScaling::Type::kYarn) return;
  if (s.beta_fast != usual.beta_fast || s.beta_slow != usual.beta_slow || s.attention_factor > 0 ||
      s.mscale > 0 || !s.truncate)
    refuse("its YaRN has constants of its own (beta_fast, beta_slow, attention_factor, mscale or truncate)");
}

bool has_pattern(const ModelConfig& c, size_t period) {
  for (size_t l = 0; l < c.num_hidden_layers; ++l) {
    if (c.has_window(l) != ((l + 1) % period != 0)) return false;
  }
  return true;
}

void check_gemma(const ModelConfig& c, const Architecture& row) {
  const bool largest = c.num_hidden_layers == row.layers_of_largest;
  const double size = static_cast<double>(largest ? c.hidden_size / c.num_attention_heads : c.head_dim);
  if (c.query_pre_attn_scalar != size)
    refuse("its query_pre_attn_scalar is not the " + std::to_string(static_cast<size_t>(size)) +
           " that llama.cpp takes for this size");
  if (std::abs(c.embedding_scale / std::sqrt(static_cast<double>(c.hidden_size)) - 1) > 1e-6)
    refuse("its embedding is not scaled by sqrt(hidden_size)");
  const bool caps = c.attention_softcap > 0;
  if (row.window_period == 2 && (!caps || c.final_softcap <= 0))
    refuse("llama.cpp's gemma2 always caps scores and logits, and this model does not");
  if (row.window_period == 6 && caps) refuse("llama.cpp's gemma3 does not cap scores, and this model does");
  if (row.window_period == 2 && !c.tie_word_embeddings)
    refuse("llama.cpp's gemma2 has its head tied to the embedding");
  if (c.sliding_window == 0) refuse("its layers have no sliding window");
  // An array of the windowed layers would be read by some versions of llama.cpp, and ignored by others.
  if (!has_pattern(c, row.window_period)) {
    const std::string period = std::to_string(row.window_period);
    refuse("llama.cpp's " + std::string(row.gguf) + " gives all layers but " + period + ", 2 x " + period +
           " and so on the window, and this model's lie otherwise");
  }
}

void check(const ModelConfig& c, const Architecture& row) {
  const std::string name = row.gguf;
  check_rope(c.rope_scaling, name);
  if (row.whole_heads && c.q_size() != c.hidden_size)
    refuse("llama.cpp's " + name + " needs a head size of hidden_size / heads");
  if (row.window_period > 0) return check_gemma(c, row);
  if (c.sliding_window > 0 && name != "llama") refuse("llama.cpp's " + name + " has no sliding window");
  if (name == "olmo2" && c.tie_word_embeddings)
    refuse("llama.cpp's olmo2 has a head of its own, not a tied one");
}

}  // namespace

std::string gguf_architecture_of(const ModelConfig& config) {
  const Architecture& row = row_for(config);
  check(config, row);
  return row.gguf;
}

GgufPairs gguf_config_pairs(const ModelConfig& c, const std::string& architecture) {
  const std::string prefix = architecture + ".";
  GgufPairs pairs;
  const auto size = [&](const std::string& key, size_t n) {
    pairs.emplace_back(prefix + key, gguf_uint32(static_cast<uint32_t>(n)));
  };
  const auto real = [&](const std::string& key, double x) {
    pairs.emplace_back(prefix + key, gguf_float32(static_cast<float>(x)));
  };
  size("vocab_size", c.vocab_size);
  size("context_length", c.max_position_embeddings);
  size("embedding_length", c.hidden_size);
  size("block_count", c.num_hidden_layers);
  size("feed_forward_length", c.intermediate_size);
  size("attention.head_count", c.num_attention_heads);
  size("attention.head_count_kv", c.num_key_value_heads);
  size("attention.key_length", c.head_dim);
  size("attention.value_length", c.head_dim);
  real("attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  size("rope.dimension_count", c.head_dim);
  real("rope.freq_base", c.rope_theta);
  if (c.local_rope_theta > 0) real("rope.freq_base_swa", c.local_rope_theta);
  const RopeScaling& s = c.rope_scaling;
  if (s.type == RopeScaling::Type::kLinear || s.type == RopeScaling::Type::kYarn) {
    pairs.emplace_back(prefix + "rope.scaling.type", gguf_string(rope_scaling_name(s.type)));
    real("rope.scaling.factor", s.factor);
    if (s.type == RopeScaling::Type::kYarn)
      size("rope.scaling.original_context_length", static_cast<size_t>(s.original_context));
  }
  if (c.sliding_window > 0) size("attention.sliding_window", c.sliding_window);
  if (c.attention_softcap > 0) real("attn_logit_softcapping", c.attention_softcap);
  if (c.final_softcap > 0) real("final_logit_softcapping", c.final_softcap);
  return pairs;
}

}  // namespace fathom
