// Pruned checkpoints: from Hugging Face folders of every scheme, family and stored type, from several files,
// from GGUF; and what the comparison before success catches.

#include "probe/write_pruned.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/json.h"
#include "io/gguf_writer.h"
#include "io/safetensors.h"
#include "io/small_floats.h"
#include "probe/prune.h"
#include "support/expect_error.h"
#include "support/gguf_metadata.h"
#include "support/heard_progress.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::TempFolder;
using test::tiny_config;
using Layers = std::vector<size_t>;

const fs::path kFamilies = fs::path(FATHOM_TEST_DATA) / "parity" / "families";

void save_tiny(const fs::path& folder, const ModelConfig& config, DType stored) {
  fs::create_directories(folder);
  ResidentWeights<float> weights(config);
  test::randomize(weights, 2);
  save_model(folder, config, weights.list(), weights.values(), stored);
}

json config_in(const fs::path& folder) { return read_json(folder / "config.json"); }

bool same_bytes(const TensorView& a, const TensorView& b) {
  return a.type == b.type && a.shape == b.shape && a.size_bytes == b.size_bytes &&
         std::memcmp(a.data, b.data, a.size_bytes) == 0;
}

// Streams after a run of `program` over some tokens.
std::vector<float> stream_of(const fs::path& model, const Program<float>& program) {
  const ModelConfig config = read_config(model);
  ResidentWeights<float> weights(config);
  load_weights(weights, model);
  Transformer<float> transformer(config, weights);
  const test::TinyBatch data(2, 9, config.vocab_size);
  std::vector<float> x(18 * config.hidden_size);
  transformer.embed(x.data(), data.view());
  transformer.run(x.data(), program, data.view());
  return x;
}

class WritePruned : public testing::TestWithParam<NormType> {};

TEST_P(WritePruned, KeepsWeightsPrecisionAndTokenizer) {
  for (const DType stored : {DType::kF32, DType::kBf16}) {
    const TempFolder temp;
    save_tiny(temp / "model", tiny_config(GetParam(), 6), stored);
    for (const char* name : {"tokenizer.json", "generation_config.json", "chat_template.jinja"})
      write_text_file(temp / "model" / name, "{}");
    const size_t dropped[] = {2, 5};
    test::HeardProgress heard;
    const WrittenCheckpoint written =
        write_pruned(temp / "model", dropped, temp / "pruned", StoreAs::kSource, {}, &heard);
    const std::string bytes = std::to_string(written.size_bytes) + " bytes";
    EXPECT_EQ(heard.text(), "write " + bytes + ", read back " + bytes + ", compare 8 layers");
    EXPECT_EQ(written.rounding, 0.0);
    EXPECT_EQ(written.files, 1u);
    const SafetensorsFile a(temp / "model/model.safetensors"), b(temp / "pruned/model.safetensors");
    EXPECT_TRUE(
        same_bytes(b.at("model.layers.1.mlp.up_proj.weight"), a.at("model.layers.2.mlp.up_proj.weight")));
    for (const char* name : {"tokenizer.json", "generation_config.json", "chat_template.jinja"})
      EXPECT_EQ(read_text_file(temp / "pruned" / name), "{}");
    EXPECT_EQ(read_config(temp / "pruned").norm.layer_index, (Layers{1, 3, 4, 6}));
    EXPECT_EQ(config_in(temp / "pruned")["torch_dtype"], stored == DType::kBf16 ? "bfloat16" : "float32");
    EXPECT_EQ(fs::exists(temp / "pruned/modeling_fathom.py"), fs::exists(temp / "model/modeling_fathom.py"));
    EXPECT_EQ(std::distance(fs::directory_iterator(temp.path()), {}), 2);  // nothing left over
  }
}

// Pruned twice is pruned once of both: places are of the model at hand, the index that of the first.
TEST_P(WritePruned, InTwoRoundsIsTheSameCheckpoint) {
  const TempFolder temp;
  save_tiny(temp / "model", tiny_config(GetParam(), 6), DType::kF32);
  const size_t both[] = {2, 5}, first[] = {2}, second[] = {4};
  write_pruned(temp / "model", both, temp / "at-once");
  write_pruned(temp / "model", first, temp / "one");
  write_pruned(temp / "one", second, temp / "two");
  EXPECT_EQ(config_in(temp / "at-once"), config_in(temp / "two"));
  EXPECT_EQ(read_text_file(temp / "at-once/model.safetensors"),
            read_text_file(temp / "two/model.safetensors"));
}

// A pruned model that generates with a cache computes what one pass computes. (A known tool renumbered layers
// so that the cache was off by one.)
TEST_P(WritePruned, DecodesAsItPrefills) {
  const TempFolder temp;
  save_tiny(temp / "model", tiny_config(GetParam(), 6), DType::kF32);
  const size_t dropped[] = {1, 4};
  write_pruned(temp / "model", dropped, temp / "pruned");
  const ModelConfig config = read_config(temp / "pruned");
  ResidentWeights<double> weights(config);
  load_weights(weights, temp / "pruned");
  Transformer<double> model(config, weights);
  const size_t T = 8, C = config.hidden_size;
  const test::TinyBatch data(1, T, config.vocab_size);
  std::vector<double> whole(T * C), x(C);
  model.embed(whole.data(), data.view());
  model.run(whole.data(), whole_program<double>(4), data.view());
  KvCache<double> cache(config, 1, T);
  for (size_t t = 0; t < T; ++t) {
    const Batch one{1, 1, data.tokens.data() + t, nullptr, nullptr};
    model.embed(x.data(), one);
    model.run(x.data(), whole_program<double>(4), one, {}, &cache);
    for (size_t c = 0; c < C; ++c) ASSERT_NEAR(x[c], whole[t * C + c], 1e-11) << "position " << t;
  }
}

INSTANTIATE_TEST_SUITE_P(Norms, WritePruned, testing::ValuesIn(test::all_norms()),
                         [](const auto& info) { return std::string(norm_name(info.param)); });

// ---- Families: the config of `transformers` itself, kept but for what pruning changes
// ----------------------------

class WritePrunedFamily : public testing::TestWithParam<std::string> {};

TEST_P(WritePrunedFamily, KeepsItsConfigAndComputesTheSame) {
  const TempFolder temp;
  const fs::path source = kFamilies / GetParam();
  const size_t L = read_config(source).num_hidden_layers;
  const size_t dropped[] = {2, 3};
  write_pruned(source, dropped, temp / "pruned");
  json before = config_in(source), after = config_in(temp / "pruned");
  EXPECT_EQ(after["num_hidden_layers"], L - 2);
  EXPECT_EQ(after["norm_scheme"]["num_layers_original"], L);
  if (before.contains("layer_types")) {
    json types = before["layer_types"];
    types.erase(1);
    types.erase(1);
    EXPECT_EQ(after["layer_types"], types);
  }
  // The class, the rotation, the stored type, the ids of special tokens: all as they were.
  for (json* config : {&before, &after}) {
    for (const char* key : {"num_hidden_layers", "norm_scheme", "layer_types"}) config->erase(key);
  }
  EXPECT_EQ(before, after);
  const size_t positions[] = {1, 2};
  EXPECT_EQ(stream_of(temp / "pruned", whole_program<float>(L - 2)),
            stream_of(source, program_without<float>(L, positions)));
}

INSTANTIATE_TEST_SUITE_P(Families, WritePrunedFamily,
                         testing::Values("llama", "llama3-rope", "linear-rope", "yarn-rope", "mistral",
                                         "qwen2", "qwen3", "olmo2", "gemma2", "gemma3"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Older files leave the windows to a pattern by index, which a pruned model breaks: the list must be there.
TEST(WritePrunedConfig, SpellsOutWindowsThatAPatternGave) {
  const TempFolder temp;
  fs::copy(kFamilies / "gemma2", temp / "model");
  json config = config_in(temp / "model");
  config.erase("layer_types");
  write_text_file(temp / "model/config.json", config.dump());
  const size_t dropped[] = {2};
  write_pruned(temp / "model", dropped, temp / "pruned");
  EXPECT_EQ(config_in(temp / "pruned")["layer_types"],
            json({"sliding_attention", "sliding_attention", "full_attention"}));
}

TEST(WritePrunedConfig, FollowsWindowsThatBeginAtALayer) {
  const TempFolder temp;
  fs::copy(kFamilies / "qwen2", temp / "model");
  json config = config_in(temp / "model");
  config.erase("layer_types");
  config["use_sliding_window"] = true;
  config["sliding_window"] = 5;
  config["max_window_layers"] = 2;
  write_text_file(temp / "model/config.json", config.dump());
  const size_t dropped[] = {1};
  write_pruned(temp / "model", dropped, temp / "pruned");
  EXPECT_EQ(config_in(temp / "pruned")["max_window_layers"], 1);
  EXPECT_EQ(read_config(temp / "pruned").windowed, (std::vector<bool>{false, true, true}));
}

TEST(WritePrunedConfig, KeepsKeysThatItDoesNotKnowAndListsOfIds) {
  const TempFolder temp;
  fs::copy(kFamilies / "llama", temp / "model");
  json config = config_in(temp / "model");
  config["eos_token_id"] = {2, 7};
  config["something_of_ours"] = {{"a", 1}};
  config["auto_map"] = {{"AutoModelForCausalLM", "modeling_theirs.Theirs"}};
  write_text_file(temp / "model/config.json", config.dump());
  const size_t dropped[] = {1};
  write_pruned(temp / "model", dropped, temp / "pruned");
  const json after = config_in(temp / "pruned");
  EXPECT_EQ(after["eos_token_id"], json({2, 7}));
  EXPECT_EQ(after["something_of_ours"], config["something_of_ours"]);
  EXPECT_FALSE(after.contains("auto_map"));  // it names a file that is not copied
}

TEST(WritePrunedConfig, RenumbersTheModulesThatAQuantizerLeftAlone) {
  const fs::path source = kFamilies / "llama";
  json config = config_in(source);
  config["quantization_config"] = {{"quant_method", "fp8"},
                                   {"modules_to_not_convert",
                                    {"lm_head", "model.layers.0.mlp", "model.layers.1.mlp", "model.layers.3",
                                     "model.layers.x", "model.layers."}}};
  const size_t dropped[] = {1, 3};
  const json after = pruned_config_json(config, read_config(source), dropped, StoreAs::kSource);
  EXPECT_EQ(after["quantization_config"]["modules_to_not_convert"],
            json({"lm_head", "model.layers.0.mlp", "model.layers.1", "model.layers.x", "model.layers."}));
}

// A scheme that no stock class computes must not stay under a stock class's name.
TEST(WritePrunedConfig, NamesOurClassWhereAStockOneWouldRunAnotherScheme) {
  const TempFolder temp;
  save_tiny(temp / "model", tiny_config(NormType::kLns), DType::kF32);
  json config = config_in(temp / "model");
  config.erase("auto_map");
  config["architectures"] = {"LlamaForCausalLM"};
  config["model_type"] = "llama";
  write_text_file(temp / "model/config.json", config.dump());
  const size_t dropped[] = {1};
  write_pruned(temp / "model", dropped, temp / "pruned");
  EXPECT_EQ(config_in(temp / "pruned")["model_type"], "fathom");
  EXPECT_TRUE(config_in(temp / "pruned").contains("auto_map"));
  EXPECT_TRUE(fs::exists(temp / "pruned/modeling_fathom.py"));
}

// ---- Stored types, several files, GGUF
// ------------------------------------------------------------------------------

// A tensor's bytes, to be written as they are.
struct Stored {
  std::string name;
  StoredType type;
  std::vector<size_t> shape;
  std::vector<std::byte> bytes;
};

void write_stored(const fs::path& path, const std::vector<Stored>& tensors) {
  std::vector<SafetensorsWriter::Entry> entries;
  for (const Stored& t : tensors) entries.push_back({t.name, t.type, t.shape});
  SafetensorsWriter file(path, entries);
  for (const Stored& t : tensors) file.write(t.bytes.data(), t.bytes.size());
  file.commit();
}

std::vector<Stored> read_stored(const fs::path& path) {
  std::vector<Stored> all;
  const SafetensorsFile file(path);
  for (const auto& [name, view] : file.tensors())
    all.push_back({name, view.type, view.shape, {view.data, view.data + view.size_bytes}});
  return all;
}

TEST(WritePrunedStored, KeepsHalfPrecisionAsItIs) {
  const TempFolder temp;
  save_tiny(temp / "model", tiny_config(NormType::kPre), DType::kF32);
  std::vector<Stored> tensors = read_stored(temp / "model/model.safetensors");
  for (Stored& t : tensors) {
    if (t.shape.size() != 2) continue;  // vectors stay fp32: a mixed file
    std::vector<uint16_t> half(t.bytes.size() / 4);
    for (size_t i = 0; i < half.size(); ++i) {
      float value = 0;
      std::memcpy(&value, t.bytes.data() + 4 * i, 4);
      half[i] = float_to_half(value);
    }
    t.type = StoredType::kF16;
    t.bytes.resize(half.size() * 2);
    std::memcpy(t.bytes.data(), half.data(), t.bytes.size());
  }
  write_stored(temp / "model/model.safetensors", tensors);
  const size_t dropped[] = {3};
  write_pruned(temp / "model", dropped, temp / "pruned");
  const SafetensorsFile a(temp / "model/model.safetensors"), b(temp / "pruned/model.safetensors");
  EXPECT_EQ(b.at("model.layers.2.self_attn.q_proj.weight").type, StoredType::kF16);
  EXPECT_TRUE(same_bytes(b.at("model.layers.2.self_attn.q_proj.weight"),
                         a.at("model.layers.3.self_attn.q_proj.weight")));
  EXPECT_EQ(b.at("model.norm.weight").type, StoredType::kF32);
}

// As DeepSeek-V3 stores them: matrices in F8_E4M3, a scale for each block beside them.
void make_float8(const fs::path& folder) {
  std::vector<Stored> out;
  Rng rng(9);
  for (Stored& t : read_stored(folder / "model.safetensors")) {
    if (t.shape.size() != 2 || t.name.find("_proj") == std::string::npos) {
      out.push_back(t);
      continue;
    }
    const size_t rows = t.shape[0], columns = t.shape[1];
    Stored eighth{t.name, StoredType::kF8E4M3, t.shape, std::vector<std::byte>(rows * columns)};
    for (std::byte& b : eighth.bytes) b = static_cast<std::byte>(rng.below(0x70) + (rng.below(2) << 7));
    const std::vector<size_t> blocks{(rows + 7) / 8, (columns + 7) / 8};
    Stored scales{t.name + "_scale_inv", StoredType::kF32, blocks,
                  std::vector<std::byte>(blocks[0] * blocks[1] * 4)};
    for (size_t i = 0; i < blocks[0] * blocks[1]; ++i) {
      const auto scale = static_cast<float>(0.01 + 0.001 * static_cast<double>(rng.below(10)));
      std::memcpy(scales.bytes.data() + 4 * i, &scale, 4);
    }
    out.push_back(eighth);
    out.push_back(scales);
  }
  write_stored(folder / "model.safetensors", out);
  json config = config_in(folder);
  config["quantization_config"] = {{"quant_method", "fp8"}, {"weight_block_size", {8, 8}}};
  write_text_file(folder / "config.json", config.dump());
}

TEST(WritePrunedStored, KeepsFloat8WithItsScalesOrConvertsBoth) {
  const TempFolder temp;
  save_tiny(temp / "model", tiny_config(NormType::kPre), DType::kF32);
  make_float8(temp / "model");
  const size_t dropped[] = {1};
  write_pruned(temp / "model", dropped, temp / "as-is");
  const SafetensorsFile a(temp / "model/model.safetensors"), b(temp / "as-is/model.safetensors");
  for (const char* name : {"mlp.down_proj.weight", "mlp.down_proj.weight_scale_inv"}) {
    EXPECT_TRUE(
        same_bytes(b.at(std::string("model.layers.0.") + name), a.at(std::string("model.layers.1.") + name)));
  }
  EXPECT_EQ(config_in(temp / "as-is")["quantization_config"],
            config_in(temp / "model")["quantization_config"]);

  const WrittenCheckpoint exact = write_pruned(temp / "model", dropped, temp / "f32", StoreAs::kF32);
  EXPECT_EQ(exact.rounding, 0.0);
  const WrittenCheckpoint rounded = write_pruned(temp / "model", dropped, temp / "bf16", StoreAs::kBf16);
  EXPECT_GT(rounded.rounding, 0.0);
  EXPECT_LT(rounded.rounding, 0.1);
  for (const char* name : {"f32", "bf16"}) {
    const SafetensorsFile file(temp / name / "model.safetensors");
    EXPECT_EQ(file.find("model.layers.0.mlp.down_proj.weight_scale_inv"), nullptr);
    EXPECT_EQ(file.at("model.layers.0.mlp.down_proj.weight").type,
              std::string(name) == "f32" ? StoredType::kF32 : StoredType::kBf16);
    EXPECT_FALSE(config_in(temp / name).contains("quantization_config"));
    EXPECT_EQ(config_in(temp / name)["torch_dtype"], std::string(name) == "f32" ? "float32" : "bfloat16");
  }
  EXPECT_EQ(stream_of(temp / "f32", whole_program<float>(3)),
            stream_of(temp / "as-is", whole_program<float>(3)));
}

TEST(WritePrunedStored, ManyFilesStayManyLessTheEmptyOnes) {
  const TempFolder temp;
  save_tiny(temp / "model", tiny_config(NormType::kLns), DType::kF32);
  // One file for each layer, one for the rest.
  std::map<std::string, std::vector<Stored>> shards;
  for (const Stored& t : read_stored(temp / "model/model.safetensors")) {
    const std::string prefix = "model.layers.";
    shards[t.name.starts_with(prefix) ? t.name.substr(prefix.size(), 1) + ".safetensors" : "rest.safetensors"]
        .push_back(t);
  }
  json map = json::object();
  for (const auto& [name, tensors] : shards) {
    write_stored(temp / "model" / name, tensors);
    for (const Stored& t : tensors) map[t.name] = name;
  }
  write_text_file(temp / "model/model.safetensors.index.json", json{{"weight_map", map}}.dump());
  fs::copy(temp / "model", temp / "single");
  fs::remove(temp / "model/model.safetensors");
  const size_t dropped[] = {2};
  EXPECT_EQ(write_pruned(temp / "model", dropped, temp / "pruned").files, 4u);
  EXPECT_TRUE(fs::exists(temp / "pruned/model-00004-of-00004.safetensors"));
  EXPECT_FALSE(fs::exists(temp / "pruned/model.safetensors"));
  const json index = read_json(temp / "pruned/model.safetensors.index.json");
  EXPECT_EQ(index["weight_map"]["model.layers.1.mlp.up_proj.weight"], "model-00002-of-00004.safetensors");
  EXPECT_EQ(index["metadata"]["total_size"],
            parameter_count(parameter_list(read_config(temp / "pruned"))) * sizeof(float));
  write_pruned(temp / "single", dropped, temp / "pruned-single");
  EXPECT_EQ(stream_of(temp / "pruned", whole_program<float>(3)),
            stream_of(temp / "pruned-single", whole_program<float>(3)));
}

void write_tiny_gguf(const fs::path& path, const ModelConfig& config, StoredType stored) {
  ResidentWeights<float> weights(config);
  test::randomize(weights, 2);
  std::vector<GgufTensor> tensors;
  for (const ParamSpec& spec : weights.list())
    tensors.push_back({spec.gguf_name, spec.shape, weights.values(spec), DType::kF32,
                       spec.is_matrix() ? stored : StoredType::kF32});
  write_gguf(path, test::gguf_metadata_of(config), tensors);
}

TEST(WritePrunedGguf, IsDequantizedExactlyOrRoundedOnRequest) {
  const TempFolder temp;
  ModelConfig config = tiny_config(NormType::kPre);
  config.hidden_size = 32;  // whole blocks
  config.intermediate_size = 64;
  write_tiny_gguf(temp / "model.gguf", config, StoredType::kQ8_0);
  const size_t dropped[] = {2, 3};
  const auto also = [](const fs::path& folder) { write_text_file(folder / "tokenizer.json", "{}"); };
  const WrittenCheckpoint exact =
      write_pruned(temp / "model.gguf", dropped, temp / "pruned", StoreAs::kSource, also);
  EXPECT_EQ(exact.rounding, 0.0);
  EXPECT_TRUE(fs::exists(temp / "pruned/tokenizer.json"));
  EXPECT_EQ(config_in(temp / "pruned")["architectures"], json({"LlamaForCausalLM"}));
  EXPECT_EQ(config_in(temp / "pruned")["torch_dtype"], "float32");
  EXPECT_EQ(read_config(temp / "pruned").norm.layer_index, (Layers{1, 4}));
  const size_t positions[] = {1, 2};
  EXPECT_EQ(stream_of(temp / "pruned", whole_program<float>(2)),
            stream_of(temp / "model.gguf", program_without<float>(4, positions)));

  const WrittenCheckpoint rounded = write_pruned(temp / "model.gguf", dropped, temp / "bf16", StoreAs::kBf16);
  EXPECT_GT(rounded.rounding, 0.0);
  EXPECT_LT(rounded.rounding, 0.05);
  EXPECT_EQ(SafetensorsFile(temp / "bf16/model.safetensors").at("model.norm.weight").type, StoredType::kBf16);
  EXPECT_EQ(config_in(temp / "bf16")["torch_dtype"], "bfloat16");
  EXPECT_NEAR(static_cast<double>(exact.size_bytes), 2.0 * static_cast<double>(rounded.size_bytes), 1e-9);
}

// ---- Before success is reported, what was written is read back and held to the source
// ----------------------------

TEST(WritePrunedCheck, NamesATensorThatReadsBackDifferently) {
  const TempFolder temp;
  save_tiny(temp / "model", tiny_config(NormType::kLns), DType::kF32);
  const size_t dropped[] = {1};
  const auto spoil = [](const fs::path& folder) {
    std::fstream file(folder / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-3, std::ios::end);
    file.put('\x42');
  };
  EXPECT_ERROR(write_pruned(temp / "model", dropped, temp / "pruned", StoreAs::kSource, spoil),
               ErrorCode::kFailed, "lm_head.weight", "reads back differently");
  EXPECT_EQ(std::distance(fs::directory_iterator(temp.path()), {}), 1);  // nothing under that name or another
}

// Nobody else stores which index a layer had; renumbered, an LNS layer would take another scale.
TEST(WritePrunedCheck, NamesALayerThatLostItsIndex) {
  const TempFolder temp;
  save_tiny(temp / "model", tiny_config(NormType::kLns), DType::kF32);
  const size_t dropped[] = {2};
  const auto renumber = [](const fs::path& folder) {
    json config = config_in(folder);
    config["norm_scheme"] = {{"type", "lns"}};
    write_text_file(folder / "config.json", config.dump());
  };
  EXPECT_ERROR(write_pruned(temp / "model", dropped, temp / "pruned", StoreAs::kSource, renumber),
               ErrorCode::kFailed, "layer 2 of the pruned model computes something else");
  EXPECT_FALSE(fs::exists(temp / "pruned"));
}

TEST(WritePrunedOutput, IsNeverOverwrittenAndNeverHalf) {
  const TempFolder temp;
  save_tiny(temp / "model", tiny_config(NormType::kLns), DType::kF32);
  write_text_file(temp / "taken", "a file");
  fs::create_directories(temp / "full");
  write_text_file(temp / "full/notes.txt", "mine");
  const size_t dropped[] = {1};
  EXPECT_ERROR(write_pruned(temp / "model", dropped, temp / "taken"), ErrorCode::kFailed, "exists already");
  EXPECT_ERROR(write_pruned(temp / "model", dropped, temp / "full"), ErrorCode::kFailed, "exists already");
  EXPECT_EQ(read_text_file(temp / "full/notes.txt"), "mine");
  fs::create_directories(temp / "empty");
  write_pruned(temp / "model", dropped, temp / "empty");
  EXPECT_TRUE(fs::exists(temp / "empty/model.safetensors"));
  write_pruned(temp / "model", dropped, temp / "new/deep/");
  EXPECT_TRUE(fs::exists(temp / "new/deep/model.safetensors"));
  fs::resize_file(temp / "model/model.safetensors", 1000);
  EXPECT_ERROR(write_pruned(temp / "model", dropped, temp / "cut"), ErrorCode::kFailed, "model.safetensors");
  EXPECT_FALSE(fs::exists(temp / "cut"));
}

// A tensor that the family has no place for is an error, not something that is lost without a word. (A known
// tool opened every model as a Llama, and Qwen's biases were gone.)
TEST(WritePrunedOutput, LosesNoTensor) {
  const TempFolder temp;
  fs::copy(kFamilies / "qwen2", temp / "model");
  const size_t dropped[] = {2};
  write_pruned(temp / "model", dropped, temp / "pruned");
  EXPECT_NE(SafetensorsFile(temp / "pruned/model.safetensors").find("model.layers.1.self_attn.q_proj.bias"),
            nullptr);
  json config = config_in(temp / "model");
  config["architectures"] = {"LlamaForCausalLM"};
  config["model_type"] = "llama";
  write_text_file(temp / "model/config.json", config.dump());
  EXPECT_ERROR(write_pruned(temp / "model", dropped, temp / "llama"), ErrorCode::kFailed, "bias",
               "is not part of the model");
}

}  // namespace
}  // namespace fathom
