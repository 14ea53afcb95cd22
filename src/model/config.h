#pragma once
// The shape of a model, in the words of Hugging Face's config.json.

#include <cstddef>
#include <string>

#include "model/norm_scheme.h"

namespace fathom {

// Dimension letters, everywhere in Fathom: B batch, T sequence length, L layers, C hidden size, F FFN size,
// NH query heads, NKV key/value heads, HS head size, V vocabulary size.

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
  NormScheme norm;

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
