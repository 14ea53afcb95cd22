#include "model/config.h"

#include <cmath>
#include <vector>

#include "core/error.h"
#include "model/parameters.h"

namespace fathom {
namespace {

// Bounds that no model of this kind passes; they keep products of sizes far from overflow.
constexpr size_t kMaxWidth = size_t{1} << 20;
constexpr size_t kMaxLayers = 4096;
constexpr size_t kMaxVocabulary = size_t{1} << 24;

// Calls check(good, text) for each thing that the formulas of rope_scaling.h need.
template <class Check>
void check_rope_scaling(const RopeScaling& s, size_t head_dim, const Check& check) {
  if (s.type == RopeScaling::Type::kNone) return;
  const auto positive = [&](const char* name, double value) {
    check(std::isfinite(value) && value > 0, std::string("rope_scaling.") + name + " must be above 0");
  };
  if (s.type == RopeScaling::Type::kFactors) {
    check(s.factors.size() == head_dim / 2, "the list of RoPE factors is not half a head long");
    for (const double factor : s.factors) positive("factors", factor);
    return;
  }
  positive("factor", s.factor);
  if (s.type == RopeScaling::Type::kLinear) return;
  positive("original_max_position_embeddings", s.original_context);
  if (s.type == RopeScaling::Type::kLlama3) {
    positive("low_freq_factor", s.low_freq_factor);
    check(std::isfinite(s.high_freq_factor) && s.high_freq_factor > s.low_freq_factor,
          "rope_scaling.high_freq_factor must be above low_freq_factor");
  } else {
    positive("beta_fast", s.beta_fast);
    positive("beta_slow", s.beta_slow);
  }
}

}  // namespace

void validate(const ModelConfig& c, const std::string& origin) {
  std::vector<std::string> problems;
  const auto check = [&](bool good, const std::string& text) {
    if (!good) problems.push_back(text);
  };
  const auto in_range = [&](const char* name, size_t value, size_t highest) {
    check(value >= 1 && value <= highest,
          std::string(name) + " is " + std::to_string(value) + ", must be 1 to " + std::to_string(highest));
  };
  in_range("hidden_size", c.hidden_size, kMaxWidth);
  in_range("intermediate_size", c.intermediate_size, kMaxWidth);
  in_range("num_hidden_layers", c.num_hidden_layers, kMaxLayers);
  in_range("num_attention_heads", c.num_attention_heads, kMaxWidth);
  in_range("num_key_value_heads", c.num_key_value_heads, kMaxWidth);
  in_range("vocab_size", c.vocab_size, kMaxVocabulary);
  in_range("max_position_embeddings", c.max_position_embeddings, size_t{1} << 28);
  if (c.num_attention_heads > 0 && c.num_key_value_heads > 0) {
    check(c.num_attention_heads % c.num_key_value_heads == 0,
          "num_attention_heads (" + std::to_string(c.num_attention_heads) +
              ") must be a multiple of num_key_value_heads (" + std::to_string(c.num_key_value_heads) + ")");
  }
  check(c.head_dim >= 8 && c.head_dim % 8 == 0 && c.head_dim <= 1024,
        "the head size is " + std::to_string(c.head_dim) + ", must be a multiple of 8 (hidden_size " +
            std::to_string(c.hidden_size) + " over " + std::to_string(c.num_attention_heads) +
            " heads, or head_dim)");
  check(c.rms_norm_eps > 0 && c.rms_norm_eps < 1, "rms_norm_eps must lie between 0 and 1");
  check(std::isfinite(c.rope_theta) && c.rope_theta > 1, "rope_theta must be above 1");
  check(std::isfinite(c.initializer_range) && c.initializer_range > 0, "initializer_range must be above 0");
  const auto not_negative = [&](const char* name, double value) {
    check(std::isfinite(value) && value >= 0, std::string(name) + " must not be negative");
  };
  not_negative("attn_logit_softcapping", c.attention_softcap);
  not_negative("final_logit_softcapping", c.final_softcap);
  not_negative("query_pre_attn_scalar", c.query_pre_attn_scalar);
  check(std::isfinite(c.embedding_scale) && c.embedding_scale > 0, "the embedding's scale must be above 0");
  check(c.local_rope_theta == 0 || (std::isfinite(c.local_rope_theta) && c.local_rope_theta > 1),
        "rope_local_base_freq must be above 1");
  check(c.windowed.empty() || c.windowed.size() == c.num_hidden_layers,
        "layer_types has " + std::to_string(c.windowed.size()) + " entries for " +
            std::to_string(c.num_hidden_layers) + " layers");
  check_rope_scaling(c.rope_scaling, c.head_dim, check);
  if (!problems.empty()) {
    std::string all;
    for (const std::string& p : problems) all += (all.empty() ? "" : "; ") + p;
    fail({.what = all, .path = origin});
  }
  layer_plans(c.norm, c.num_hidden_layers);  // throws where the scheme's constants do not fit
}

double train_flops_per_token(const ModelConfig& c, size_t T) {
  double counted = static_cast<double>(c.vocab_size) * static_cast<double>(c.hidden_size);  // the head
  for (const ParamSpec& p : parameter_list(c)) {
    if (p.layer >= 0 || p.role == ParamRole::kFinalNorm || p.role == ParamRole::kEmbedNorm) {
      counted += static_cast<double>(p.size());
    }
  }
  return 6.0 * counted + 6.0 * static_cast<double>(c.num_hidden_layers * T * c.q_size());
}

}  // namespace fathom
