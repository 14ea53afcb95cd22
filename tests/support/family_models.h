#pragma once
// Tiny models with what families of checkpoints add to a Llama.

#include <string>
#include <utility>
#include <vector>

#include "model/tiny_model.h"

namespace fathom::test {

struct FamilyModel {
  std::string name;
  ModelConfig config;
};

inline ModelConfig tiny_gemma2() {
  ModelConfig c = tiny_config(NormType::kSandwich);
  c.tie_word_embeddings = true;
  c.activation = GateActivation::kGeluTanh;
  c.embedding_scale = 4.9;
  c.attention_softcap = 2.0;
  c.final_softcap = 3.0;
  c.query_pre_attn_scalar = 22.7;
  c.sliding_window = 3;
  c.windowed = {true, false, true, false};
  return c;
}

inline std::vector<FamilyModel> family_models() {
  ModelConfig qwen3 = tiny_config(NormType::kPre);
  qwen3.qk_norm = QkNorm::kHead;
  ModelConfig biased = qwen3;
  biased.attention_bias = true;
  ModelConfig olmo2 = tiny_config(NormType::kReordered);
  olmo2.qk_norm = QkNorm::kWhole;
  ModelConfig gemma3 = tiny_gemma2();
  gemma3.attention_softcap = gemma3.final_softcap = 0;
  gemma3.qk_norm = QkNorm::kHead;
  gemma3.rope_theta = 300.0;
  gemma3.rope_scaling = {.type = RopeScaling::Type::kLinear, .factor = 8.0};
  gemma3.local_rope_theta = 10.0;
  ModelConfig yarn = tiny_config(NormType::kPre);
  yarn.rope_theta = 50.0;
  yarn.rope_scaling = {.type = RopeScaling::Type::kYarn, .factor = 4.0, .original_context = 16};
  return {{"qwen3", qwen3},   {"qwen3_with_biases", biased},
          {"olmo2", olmo2},   {"gemma2", tiny_gemma2()},
          {"gemma3", gemma3}, {"yarn", yarn}};
}

}  // namespace fathom::test
