#include "io/checkpoint.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "io/safetensors.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

using nlohmann::json;
using test::TempFolder;

// An adapter's base may be an adapter; one that is its own base, or its base's, has none.
TEST(Adapter, ABaseThatLeadsBackIsAnError) {
  const TempFolder f;
  for (const auto& [name, base] :
       {std::pair("a", f / "a"), std::pair("b", f / "c"), std::pair("c", f / "b")}) {
    std::filesystem::create_directories(f / name);
    write_text_file(f / name / "adapter_config.json",
                    json{{"peft_type", "LORA"}, {"base_model_name_or_path", base.string()}}.dump());
  }
  EXPECT_ERROR(read_config(f / "a"), ErrorCode::kFailed, "a/adapter_config.json", "leads back to");
  EXPECT_ERROR(read_config(f / "b"), ErrorCode::kFailed, "leads back to");
}

json tiny() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"hidden_size", 16},
          {"intermediate_size", 24},
          {"num_hidden_layers", 3},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 1},
          {"vocab_size", 11},
          {"max_position_embeddings", 32}};
}

json with(const std::string& key, const json& value) {
  json j = tiny();
  j[key] = value;
  return j;
}

ModelConfig tiny_config(const std::string& scheme) {
  return config_from_json(with("norm_scheme", {{"type", scheme}}), "test");
}

TEST(Config, ReadsHuggingFaceKeysWithDefaults) {
  const ModelConfig c = config_from_json(tiny(), "test");
  EXPECT_EQ(c.head_dim, 8u);
  EXPECT_EQ(c.norm.type, NormType::kPre);
  EXPECT_FALSE(c.tie_word_embeddings);
  EXPECT_FALSE(c.attention_bias);
  EXPECT_EQ(c.eos_token_id, -1);
  json qwen = with("model_type", "qwen2");
  qwen["architectures"] = {"Qwen2ForCausalLM"};
  qwen["sliding_window"] = 8;
  qwen["use_sliding_window"] = false;
  EXPECT_TRUE(config_from_json(qwen, "test").attention_bias);
  EXPECT_EQ(config_from_json(qwen, "test").sliding_window, 0u);
  EXPECT_EQ(config_from_json(with("eos_token_id", {5, 6}), "test").eos_token_id, 5);
}

TEST(Config, KeepsEveryTokenThatEndsAText) {
  const ModelConfig c = config_from_json(with("eos_token_id", {5, 6, 9}), "test");
  EXPECT_EQ(c.more_eos_token_ids, (std::vector<long>{6, 9}));
  EXPECT_EQ(config_to_json(c, DType::kF32)["eos_token_id"], json({5, 6, 9}));
  EXPECT_EQ(config_to_json(config_from_json(with("eos_token_id", 5), "test"), DType::kF32)["eos_token_id"],
            5);
  EXPECT_ERROR(config_from_json(with("eos_token_id", {5, "six"}), "test"), ErrorCode::kFailed,
               "'eos_token_id'");
}

TEST(Config, NamesWhatIsWrongAndWhere) {
  const auto read = [](const json& j) { config_from_json(j, "a/config.json"); };
  EXPECT_ERROR(read(with("num_attention_heads", 3)), ErrorCode::kFailed, "a/config.json",
               "num_attention_heads", "divide");
  EXPECT_ERROR(read(with("num_key_value_heads", 3)), ErrorCode::kFailed, "a/config.json",
               "num_key_value_heads");
  EXPECT_ERROR(read(with("head_dim", 12)), ErrorCode::kFailed, "multiple of 8");
  EXPECT_ERROR(read(with("hidden_size", -4)), ErrorCode::kFailed, "'hidden_size'", "whole number");
  EXPECT_ERROR(read(with("hidden_size", "16")), ErrorCode::kFailed, "'hidden_size'");
  EXPECT_ERROR(read(with("vocab_size", 0)), ErrorCode::kFailed, "vocab_size is 0");
  EXPECT_ERROR(read(with("num_hidden_layers", 1000000000)), ErrorCode::kFailed, "num_hidden_layers");
  EXPECT_ERROR(read(with("rope_scaling", {{"type", "yarn"}})), ErrorCode::kFailed, "rope_scaling");
  EXPECT_ERROR(read(with("hidden_act", "gelu")), ErrorCode::kFailed, "hidden_act", "gelu");
  EXPECT_ERROR(read(with("architectures", {"GPT2LMHeadModel"})), ErrorCode::kFailed, "GPT2LMHeadModel",
               "supported");
  EXPECT_ERROR(read(with("norm_scheme", {{"type", "lsn"}})), ErrorCode::kFailed, "'lsn'",
               "did you mean 'lns'");
  EXPECT_ERROR(read(with("norm_scheme", {{"type", "LNS"}})), ErrorCode::kFailed, "'LNS'");
  EXPECT_ERROR(read(with("norm_scheme", "lns")), ErrorCode::kFailed, "norm_scheme");
  EXPECT_ERROR(read(with("norm_scheme", {{"type", "lns"}, {"layer_index", {1, 2}}})), ErrorCode::kFailed,
               "layer_index");
  EXPECT_ERROR(read(with("norm_scheme", {{"type", "mix"}, {"post_layers", 9}})), ErrorCode::kFailed,
               "post_layers");
  json missing = tiny();
  missing.erase("hidden_size");
  EXPECT_ERROR(read(missing), ErrorCode::kFailed, "'hidden_size' is missing");
  EXPECT_ERROR(read(json::array()), ErrorCode::kFailed, "not a JSON object");
  // Every problem at once, not the first alone.
  json two = with("vocab_size", 0);
  two["rms_norm_eps"] = -1.0;
  EXPECT_ERROR(read(two), ErrorCode::kFailed, "vocab_size", "rms_norm_eps");
}

TEST(Config, RoundTripsEveryScheme) {
  for (const std::string& name : norm_names()) {
    const ModelConfig c = tiny_config(name);
    const json j = config_to_json(c, DType::kF32);
    EXPECT_EQ(j["norm_scheme"]["type"], name);
    EXPECT_EQ(j["architectures"][0], name == "pre" ? "LlamaForCausalLM" : "FathomForCausalLM");
    EXPECT_EQ(j.contains("auto_map"), name != "pre");
    const ModelConfig back = config_from_json(j, "test");
    EXPECT_EQ(config_to_json(back, DType::kF32), j);
  }
  EXPECT_NEAR(config_to_json(tiny_config("deepnorm"), DType::kF32)["norm_scheme"]["alpha"].get<double>(),
              1.5650845800732873, 1e-12);  // (2 * 3)^(1/4)
}

TEST(Checkpoint, SavedModelLoadsWithTheSameWeights) {
  for (const std::string& name : norm_names()) {
    const TempFolder folder;
    const ModelConfig c = tiny_config(name);
    ResidentWeights<float> weights(c), back(c);
    initialize(weights.values(), weights.list(), 3);
    save_model(folder.path(), c, weights.list(), weights.values(), DType::kF32);
    EXPECT_EQ(std::filesystem::exists(folder / "modeling_fathom.py"), name != "pre");
    EXPECT_EQ(read_config(folder.path()).norm.type, c.norm.type);
    load_weights(back, folder.path());
    for (size_t i = 0; i < weights.count(); ++i)
      ASSERT_EQ(weights.values()[i], back.values()[i]) << name << " at " << i;
  }
}

TEST(Checkpoint, LoadsAShardedFolder) {
  const TempFolder folder;
  const ModelConfig c = tiny_config("pre");
  ResidentWeights<float> weights(c), back(c);
  initialize(weights.values(), weights.list(), 3);
  save_model(folder.path(), c, weights.list(), weights.values(), DType::kF32);
  std::filesystem::remove(folder / "model.safetensors");
  json map = json::object();
  for (size_t part = 0; part < 2; ++part) {
    const std::string name = "model-" + std::to_string(part) + ".safetensors";
    std::vector<TensorToWrite> tensors;
    for (size_t i = part; i < weights.list().size(); i += 2) {
      const ParamSpec& spec = weights.list()[i];
      tensors.push_back({spec.name, spec.shape, weights.values(spec), DType::kF32, DType::kF32});
      map[spec.name] = name;
    }
    write_safetensors(folder / name, tensors);
  }
  write_text_file(folder / "model.safetensors.index.json", json{{"weight_map", map}}.dump());
  load_weights(back, folder.path());
  for (size_t i = 0; i < weights.count(); ++i) ASSERT_EQ(weights.values()[i], back.values()[i]) << i;
}

TEST(Checkpoint, RefusesTensorsThatDoNotFit) {
  const TempFolder folder;
  const ModelConfig c = tiny_config("pre");
  ResidentWeights<float> weights(c);
  initialize(weights.values(), weights.list(), 3);
  save_model(folder.path(), c, weights.list(), weights.values(), DType::kBf16);
  load_weights(weights, folder.path());  // a valid folder still loads

  json wider = config_to_json(c, DType::kF32);
  wider["intermediate_size"] = 32;
  ResidentWeights<float> other(config_from_json(wider, "test"));
  EXPECT_ERROR(load_weights(other, folder.path()), ErrorCode::kFailed, "gate_proj", "[24, 16]", "[32, 16]");
  ResidentWeights<float> sandwich(tiny_config("sandwich"));
  EXPECT_ERROR(load_weights(sandwich, folder.path()), ErrorCode::kFailed, "missing");
  json fewer = config_to_json(c, DType::kF32);
  fewer["num_hidden_layers"] = 2;
  ResidentWeights<float> shallow(config_from_json(fewer, "test"));
  EXPECT_ERROR(load_weights(shallow, folder.path()), ErrorCode::kFailed, "model.layers.2.",
               "not part of the model");
}

TEST(Checkpoint, ResolvesRunFoldersToTheirLastCompleteStep) {
  const TempFolder run;
  EXPECT_ERROR(resolve_model(run / "none"), ErrorCode::kFailed, "no such file or folder");
  EXPECT_ERROR(resolve_model(run.path()), ErrorCode::kFailed, "is no model");
  for (const char* name : {"step-9", "step-10", ".tmp-step-11", "step-12x"}) {
    std::filesystem::create_directories(run.path() / "checkpoints" / name);
  }
  EXPECT_EQ(resolve_model(run.path()).filename(), "step-10");
  const TempFolder empty;
  std::filesystem::create_directories(empty / "checkpoints");
  EXPECT_ERROR(resolve_model(empty.path()), ErrorCode::kFailed, "no complete checkpoint");
}

TEST(Checkpoint, CopiesOnlyTokenizerFiles) {
  const TempFolder from, to;
  write_text_file(from / "tokenizer.json", "{}");
  write_text_file(from / "other.txt", "x");
  for (const char* name : {"vocab.json", "chat_template.json", "generation_config.json"})
    write_text_file(from / name, name);
  copy_tokenizer_files(from.path(), to.path());
  EXPECT_TRUE(std::filesystem::exists(to / "tokenizer.json"));
  for (const char* name : {"vocab.json", "chat_template.json", "generation_config.json"})
    EXPECT_EQ(read_text_file(to / name), name);
  EXPECT_FALSE(std::filesystem::exists(to / "other.txt"));
}

}  // namespace
}  // namespace fathom
