// Each family of checkpoints against Hugging Face's own code: tests/parity/make_families.py made the folders.

#include "io/families.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "core/json.h"
#include "core/log.h"
#include "io/checkpoint.h"
#include "kernels/isa.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kFamilies = fs::path(FATHOM_TEST_DATA) / "parity" / "families";

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kFamilies))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

struct Expected {
  size_t B, T;
  std::vector<int32_t> tokens;
  std::vector<double> logits;
};

Expected read_expected(const fs::path& folder) {
  const json file = read_json(folder / "expected.json");
  Expected e{file["tokens"].size(), file["tokens"][0].size(), {}, {}};
  for (const json& sequence : file["tokens"]) {
    for (const json& t : sequence) e.tokens.push_back(t.get<int32_t>());
  }
  for (const json& sequence : file["logits"]) {
    for (const json& row : sequence) {
      for (const json& v : row) e.logits.push_back(v.get<double>());
    }
  }
  return e;
}

// Largest deviation, relative to the largest logit; NaN counts as infinite.
template <class W>
double deviation(const fs::path& folder) {
  using S = Stream<W>;
  const Expected e = read_expected(folder);
  ResidentWeights<W> weights(read_config(folder));
  load_weights(weights, folder);
  Transformer<W> model(weights.config(), weights);
  const Batch batch{e.B, e.T, e.tokens.data(), nullptr, nullptr};
  std::vector<S> x(batch.rows() * weights.config().hidden_size), logits(e.logits.size());
  model.embed(x.data(), batch);
  model.run(x.data(), whole_program<S>(weights.config().num_hidden_layers), batch);
  model.logits(logits.data(), x.data(), batch.rows());
  double worst = 0, largest = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double d = std::abs(static_cast<double>(logits[i]) - e.logits[i]);
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
    largest = std::max(largest, std::abs(e.logits[i]));
  }
  return worst / largest;
}

class FamilyOf : public testing::TestWithParam<std::string> {};

TEST_P(FamilyOf, ComputesTransformersLogits) {
  EXPECT_LT(deviation<double>(kFamilies / GetParam()), 1e-6);  // transformers' RoPE is in fp32
  const Isa before = active_isa();
  for (const Isa isa : available_isas()) {
    set_active_isa(isa);
    EXPECT_LT(deviation<float>(kFamilies / GetParam()), 1e-4) << isa_name(isa);
    EXPECT_LT(deviation<bf16>(kFamilies / GetParam()), 5e-2) << isa_name(isa);
  }
  set_active_isa(before);
}

TEST_P(FamilyOf, WrittenAgainIsTheSameModel) {
  const fs::path folder = kFamilies / GetParam();
  const test::TempFolder copy;
  ResidentWeights<float> weights(read_config(folder)), back(read_config(folder));
  load_weights(weights, folder);
  save_model(copy.path(), weights.config(), weights.list(), weights.values(), DType::kF32);
  const json was = read_json(folder / "config.json");
  const json is = read_json(copy / "config.json");
  EXPECT_EQ(is["architectures"], was["architectures"]);
  for (const char* key :
       {"model_type", "head_dim", "sliding_window", "rope_theta", "rope_scaling", "layer_types",
        "hidden_activation", "query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping",
        "rope_local_base_freq", "tie_word_embeddings", "rms_norm_eps"}) {
    if (!was.contains(key) || !is.contains(key)) continue;
    EXPECT_EQ(is[key], was[key]) << key;
  }
  ResidentWeights<float> read(read_config(copy.path()));
  load_weights(read, copy.path());
  ASSERT_EQ(read.count(), weights.count());
  for (size_t i = 0; i < read.count(); ++i) ASSERT_NEAR(read.values()[i], weights.values()[i], 1e-7) << i;
  fs::copy_file(folder / "expected.json", copy / "expected.json");
  EXPECT_LT(deviation<float>(copy.path()), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyOf, testing::ValuesIn(family_names()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

json sizes() {
  return {{"hidden_size", 32},        {"intermediate_size", 40},  {"num_hidden_layers", 12},
          {"num_attention_heads", 4}, {"num_key_value_heads", 2}, {"vocab_size", 61}};
}

json with(json base, const json& more) {
  base.update(more);
  return base;
}

TEST(Families, DefaultsAreThoseOfTheClasses) {
  const ModelConfig gemma2 =
      config_from_json(with(sizes(), {{"architectures", {"Gemma2ForCausalLM"}}}), "test");
  EXPECT_EQ(gemma2.head_dim, 256u);
  EXPECT_EQ(gemma2.attention_softcap, 50.0);
  EXPECT_EQ(gemma2.final_softcap, 30.0);
  EXPECT_TRUE(gemma2.tie_word_embeddings);
  EXPECT_TRUE(gemma2.has_window(0));
  EXPECT_FALSE(gemma2.has_window(1));
  EXPECT_DOUBLE_EQ(gemma2.embedding_scale, std::sqrt(32.0));
  const ModelConfig gemma3 = config_from_json(with(sizes(), {{"model_type", "gemma3_text"}}), "test");
  EXPECT_EQ(gemma3.rope_theta, 1e6);
  EXPECT_EQ(gemma3.local_rope_theta, 1e4);
  EXPECT_EQ(gemma3.final_softcap, 0.0);
  for (size_t l = 0; l < 12; ++l) EXPECT_EQ(gemma3.has_window(l), l != 5 && l != 11);
  const ModelConfig qwen3 =
      config_from_json(with(sizes(), {{"architectures", {"Qwen3ForCausalLM"}}}), "test");
  EXPECT_EQ(qwen3.head_dim, 128u);
  EXPECT_FALSE(qwen3.attention_bias);
  const ModelConfig qwen2 = config_from_json(with(sizes(), {{"architectures", {"Qwen2ForCausalLM"}},
                                                            {"use_sliding_window", true},
                                                            {"sliding_window", 8},
                                                            {"max_window_layers", 10}}),
                                             "test");
  EXPECT_FALSE(qwen2.has_window(9));
  EXPECT_TRUE(qwen2.has_window(10));
}

TEST(Families, WhatANullSaysIsNotWhatAMissingKeySays) {
  const auto read = [](const json& more) { return config_from_json(with(sizes(), more), "test"); };
  const ModelConfig uncapped = read(
      {{"model_type", "gemma2"}, {"attn_logit_softcapping", nullptr}, {"final_logit_softcapping", nullptr}});
  EXPECT_EQ(uncapped.attention_softcap, 0.0);
  EXPECT_EQ(uncapped.final_softcap, 0.0);
  const ModelConfig again = config_from_json(config_to_json(uncapped, DType::kF32), "test");
  EXPECT_EQ(again.attention_softcap, 0.0);
  EXPECT_EQ(again.final_softcap, 0.0);
  EXPECT_EQ(read({{"model_type", "mistral"}}).sliding_window, 4096u);
  EXPECT_EQ(read({{"model_type", "mistral"}, {"sliding_window", nullptr}}).sliding_window, 0u);
}

// Their classes know no window: a model converted from another family may still name one.
TEST(Families, LlamaAndOlmoHaveNoWindowWhateverTheFileSays) {
  std::string warned;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& message) { warned += message; });
  for (const char* type : {"llama", "olmo2"}) {
    warned.clear();
    const ModelConfig c =
        config_from_json(with(sizes(), {{"model_type", type}, {"sliding_window", 8}}), "a/config.json");
    EXPECT_EQ(c.sliding_window, 0u) << type;
    EXPECT_NE(warned.find("a/config.json: sliding_window is ignored"), std::string::npos) << warned;
  }
  set_log_sink(before);
}

TEST(Families, EveryScalarIsWrittenAsItWasRead) {
  for (int scalar = 1; scalar <= 1024; ++scalar) {
    const ModelConfig c = config_from_json(
        with(sizes(), {{"model_type", "gemma2"}, {"query_pre_attn_scalar", scalar}}), "test");
    const json written = config_to_json(c, DType::kF32);
    EXPECT_EQ(written["query_pre_attn_scalar"].get<double>(), scalar);
  }
}

TEST(Families, ReadsRopeParametersOfTransformers5) {
  const json llama = with(sizes(), {{"architectures", {"LlamaForCausalLM"}},
                                    {"rope_parameters",
                                     {{"rope_type", "llama3"},
                                      {"rope_theta", 500000.0},
                                      {"factor", 8.0},
                                      {"low_freq_factor", 1.0},
                                      {"high_freq_factor", 4.0},
                                      {"original_max_position_embeddings", 8192}}}});
  const ModelConfig c = config_from_json(llama, "test");
  EXPECT_EQ(c.rope_theta, 500000.0);
  EXPECT_EQ(c.rope_scaling.type, RopeScaling::Type::kLlama3);
  EXPECT_EQ(c.rope_scaling.original_context, 8192.0);
  const json gemma3 =
      with(sizes(), {{"model_type", "gemma3_text"},
                     {"rope_parameters",
                      {{"full_attention", {{"rope_type", "linear"}, {"rope_theta", 2e6}, {"factor", 8.0}}},
                       {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 5e3}}}}}});
  const ModelConfig g = config_from_json(gemma3, "test");
  EXPECT_EQ(g.rope_theta, 2e6);
  EXPECT_EQ(g.rope_scaling.factor, 8.0);
  EXPECT_EQ(g.local_rope_theta, 5e3);
}

TEST(Families, RefusesByNameWhatIsNotComputed) {
  const auto read = [](const json& more) { config_from_json(with(sizes(), more), "a/config.json"); };
  EXPECT_ERROR(read({{"architectures", {"DeepseekV3ForCausalLM"}}}), ErrorCode::kFailed, "a/config.json",
               "'DeepseekV3ForCausalLM'", "latent attention", "LlamaForCausalLM");
  EXPECT_ERROR(read({{"architectures", {"Qwen2MoeForCausalLM"}}}), ErrorCode::kFailed, "mixtures of experts");
  for (const char* name : {"MixtralForCausalLM", "Qwen3MoeForCausalLM", "DeepseekForCausalLM"}) {
    EXPECT_ERROR(read({{"architectures", {name}}}), ErrorCode::kFailed, name,
                 "(mixtures of experts are not computed yet)", "Qwen3ForCausalLM");
  }
  EXPECT_ERROR(read({{"model_type", "deepseek_v2"}}), ErrorCode::kFailed, "'deepseek_v2'",
               "latent attention");
  EXPECT_ERROR(read({{"architectures", {"LlamaForCausalLM"}}, {"num_local_experts", 8}}), ErrorCode::kFailed,
               "num_local_experts", "mixtures of experts");
  EXPECT_ERROR(read({{"model_type", "gpt2"}}), ErrorCode::kFailed, "'gpt2'", "supported");
  EXPECT_ERROR(read({{"architectures", json::array()}}), ErrorCode::kFailed, "architectures");
  EXPECT_ERROR(read({{"architectures", {7}}}), ErrorCode::kFailed, "architectures");
  EXPECT_ERROR(read({{"rope_scaling", {{"rope_type", "longrope"}, {"factor", 2.0}}}}), ErrorCode::kFailed,
               "longrope", "yarn");
  EXPECT_ERROR(read({{"rope_scaling", {{"type", "yarn"}}}}), ErrorCode::kFailed, "factor");
  EXPECT_ERROR(read({{"rope_scaling", {{"type", "linear"}, {"factor", 0.0}}}}), ErrorCode::kFailed,
               "rope_scaling.factor");
  EXPECT_ERROR(read({{"rope_scaling", 3}}), ErrorCode::kFailed, "rope_scaling", "object");
  EXPECT_ERROR(read({{"partial_rotary_factor", 0.5}}), ErrorCode::kFailed, "partial_rotary_factor");
  EXPECT_ERROR(read({{"rope_parameters", {{"partial_rotary_factor", 0.5}}}}), ErrorCode::kFailed,
               "partial_rotary_factor");
  EXPECT_ERROR(read({{"hidden_act", "relu"}}), ErrorCode::kFailed, "relu");
  EXPECT_ERROR(read({{"model_type", "gemma3_text"}, {"layer_types", {"chunked_attention"}}}),
               ErrorCode::kFailed, "chunked_attention");
  EXPECT_ERROR(read({{"model_type", "gemma3_text"}, {"layer_types", {"full_attention"}}}), ErrorCode::kFailed,
               "layer_types has 1 entries for 12");
  EXPECT_ERROR(read({{"model_type", "gemma2"}, {"query_pre_attn_scalar", 0}}), ErrorCode::kFailed,
               "query_pre_attn_scalar");
  EXPECT_ERROR(read({{"model_type", "gemma3_text"}, {"sliding_window_pattern", 0}}), ErrorCode::kFailed,
               "sliding_window_pattern");
}

TEST(Families, AFamilyUnderAnotherSchemeIsNotWrittenAsSomethingElse) {
  ModelConfig qwen3 = config_from_json(with(sizes(), {{"architectures", {"Qwen3ForCausalLM"}}}), "test");
  qwen3.norm.type = NormType::kLns;
  EXPECT_ERROR(config_to_json(qwen3, DType::kF32), ErrorCode::kFailed, "'qwen3'", "'lns'");
}

}  // namespace
}  // namespace fathom
