#pragma once
// What a GGUF file says of a model's shape.

#include <string>

#include "io/gguf_writer.h"
#include "model/config.h"

namespace fathom::test {

/// The keys that every architecture has.
inline GgufPairs gguf_metadata_of(const ModelConfig& c, const std::string& arch = "llama") {
  const auto u32 = [](size_t n) { return gguf_uint32(static_cast<uint32_t>(n)); };
  const auto f32 = [](double x) { return gguf_float32(static_cast<float>(x)); };
  return {{"general.architecture", gguf_string(arch)},
          {arch + ".context_length", u32(c.max_position_embeddings)},
          {arch + ".embedding_length", u32(c.hidden_size)},
          {arch + ".block_count", u32(c.num_hidden_layers)},
          {arch + ".feed_forward_length", u32(c.intermediate_size)},
          {arch + ".attention.head_count", u32(c.num_attention_heads)},
          {arch + ".attention.head_count_kv", u32(c.num_key_value_heads)},
          {arch + ".attention.key_length", u32(c.head_dim)},
          {arch + ".attention.value_length", u32(c.head_dim)},
          {arch + ".attention.layer_norm_rms_epsilon", f32(c.rms_norm_eps)},
          {arch + ".rope.freq_base", f32(c.rope_theta)}};
}

}  // namespace fathom::test
