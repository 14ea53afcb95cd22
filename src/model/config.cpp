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
  if (!problems.empty()) {
    std::string all;
    for (const std::string& p : problems) all += (all.empty() ? "" : "; ") + p;
    fail({.what = all, .path = origin, .tensor = {}, .offset = {}, .line = {}, .hint = {}});
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
