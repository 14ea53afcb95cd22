#pragma once
// The shape of a model, in the words of Hugging Face's config.json.

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "kernels/swiglu.h"
#include "model/lora.h"
#include "model/norm_scheme.h"
#include "model/rope_scaling.h"

namespace fathom {

// Dimension letters, everywhere in Fathom: B batch, T sequence length, L layers, C hidden size, F FFN size,
// NH query heads, NKV key/value heads, HS head size, V vocabulary size.

/// RMSNorm of queries and keys before their rotation: none, each head by itself (Qwen3, Gemma 3), or all
/// heads of a position together (OLMo 2).
enum class QkNorm { kNone, kHead, kWhole };

struct ModelConfig {
  size_t hidden_size = 0;
  size_t intermediate_size = 0;
  size_t num_hidden_layers = 0;
  size_t num_attention_heads = 0;
  size_t num_key_value_heads = 0;
  size_t head_dim = 0;
  size_t vocab_size = 0;
  size_t max_position_embeddings = 2048;
  size_t sliding_window = 0;  ///< Keys that a query sees, itself included; 0: all (Mistral 7B v0.1: 4096).
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  double initializer_range = 0.02;
  bool tie_word_embeddings = false;
  bool attention_bias = false;  ///< Biases on q, k and v, as Qwen2 has them.
  long bos_token_id = -1;       ///< -1: none.
  long eos_token_id = -1;
  std::vector<long> more_eos_token_ids = {};  ///< Others that end a text, where the config lists several.
  NormScheme norm;

  // What families add to a Llama; the defaults are Llama's. io/families.h says which family has what.
  std::string family;  ///< model_type of the config that was read; empty: chosen by the features when written
  GateActivation activation = GateActivation::kSilu;
  QkNorm qk_norm = QkNorm::kNone;
  RopeScaling rope_scaling;
  double embedding_scale = 1.0;      ///< Gemma: sqrt(hidden_size)
  double attention_softcap = 0;      ///< Gemma 2; 0: none
  double final_softcap = 0;          ///< Gemma 2, of the logits; 0: none
  double query_pre_attn_scalar = 0;  ///< Gemma: scores are divided by its root; 0: head_dim
  double norm_weight_offset = 0;     ///< Gemma: 1; Hugging Face's files store gain - offset
  double local_rope_theta = 0;       ///< Gemma 3: of layers with a window, unscaled; 0: as the others
  std::vector<bool> windowed = {};   ///< By position, which layers have the sliding window; empty: all

  LoraConfig lora;  ///< Adapters that stand beside the projections; no part of config.json.

  /// What scores are multiplied by; 0: 1 / sqrt(head_dim).
  double attention_scale() const {
    return query_pre_attn_scalar > 0 ? 1.0 / std::sqrt(query_pre_attn_scalar) : 0.0;
  }
  bool has_window(size_t l) const { return sliding_window > 0 && (windowed.empty() || windowed[l]); }
  /// Width of the weights of the query and key norms; 0 where there are none.
  size_t q_norm_size() const {
    return qk_norm == QkNorm::kNone ? 0 : qk_norm == QkNorm::kHead ? head_dim : q_size();
  }
  size_t k_norm_size() const {
    return qk_norm == QkNorm::kNone ? 0 : qk_norm == QkNorm::kHead ? head_dim : kv_size();
  }
  size_t q_size() const { return num_attention_heads * head_dim; }
  size_t kv_size() const { return num_key_value_heads * head_dim; }
  size_t qkv_size() const { return q_size() + 2 * kv_size(); }
};

/// Checks that sizes are positive, bounded, and fit one another; lists every problem at once.
/// `origin` names the file or flag in the message. Errors: Error.
void validate(const ModelConfig& config, const std::string& origin);

/// FLOP of training (forward and backward) per token: 6 per parameter without the input embedding (the head
/// counts, tied or not) plus 6 L T d of causal attention; recompute does not count.
double train_flops_per_token(const ModelConfig& config, size_t T);

}  // namespace fathom
