// Exports: what is written, read back, is the model; a scheme folded into the weights computes the same; what
// a format can't hold is refused by name; nothing is left of an export that fails.

#include "io/export.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/json.h"
#include "io/checkpoint.h"
#include "io/gguf_config.h"
#include "io/quantize.h"
#include "support/expect_error.h"
#include "support/family_models.h"
#include "support/file_size_limit.h"
#include "support/heard_progress.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using test::TempFolder;

const fs::path kFamilies = fs::path(FATHOM_TEST_DATA) / "parity" / "families";
const fs::path kGoldens = fs::path(FATHOM_TEST_DATA) / "golden" / "data";

std::vector<float> weights_of(const fs::path& model) {
  ResidentWeights<float> weights(read_config(model));
  load_weights(weights, model);
  return {weights.values(), weights.values() + weights.count()};
}

std::vector<float> logits_of(const fs::path& model, bool skip_scales = false) {
  ResidentWeights<float> weights(read_config(model));
  load_weights(weights, model);
  Transformer<float> transformer(weights.config(), weights);
  if (skip_scales) {
    for (LayerPlan& plan : transformer.mutable_plans()) plan.step.in_scale = 1;
  }
  const TinyBatch tokens(2, 12, weights.config().vocab_size);
  std::vector<float> x(24 * weights.config().hidden_size), logits(24 * weights.config().vocab_size);
  transformer.embed(x.data(), tokens.view());
  transformer.run(x.data(), whole_program<float>(weights.config().num_hidden_layers), tokens.view());
  transformer.logits(logits.data(), x.data(), 24);
  return logits;
}

double deviation(const std::vector<float>& got, const std::vector<float>& expected) {
  double worst = 0, largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(got[i] - expected[i])));
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return worst / largest;
}

fs::path save_tiny(const fs::path& folder, const ModelConfig& config) {
  fs::create_directories(folder);
  ResidentWeights<float> weights(config);
  randomize(weights, 5);
  save_model(folder, config, weights.list(), weights.values(), DType::kF32);
  return folder;
}

ExportOptions to(ExportFormat format, std::optional<StoredType> type = {}, bool fold = false) {
  ExportOptions options;
  options.format = format;
  options.type = type;
  options.fold = fold;
  options.name = "tiny";
  return options;
}
constexpr auto kHf = ExportFormat::kHuggingFace;
constexpr auto kGguf = ExportFormat::kGguf;

TEST(Export, SaysHowFarItIs) {
  const TempFolder f;
  const fs::path source = save_tiny(f / "m", test::tiny_config(NormType::kLns));
  const size_t count = parameter_count(parameter_list(test::tiny_config(NormType::kLns)));
  test::HeardProgress heard;
  ExportOptions options = to(kGguf, StoredType::kF16, true);
  options.progress = &heard;
  export_model(source, f / "m.gguf", options);
  // Of four layers: the export, its source, the same weights rounded and folded, and folded alone.
  EXPECT_EQ(heard.text(), "write " + std::to_string(count) + " parameters, compare 16 layers");
}

class ExportOf : public testing::TestWithParam<std::string> {};

TEST_P(ExportOf, GoesToGgufAndBackBitForBit) {
  const TempFolder f;
  const fs::path source = kFamilies / GetParam();
  const ExportResult there = export_model(source, f / "m.gguf", to(kGguf));
  EXPECT_LE(there.deviation, 1e-5);
  EXPECT_EQ(there.type, StoredType::kF32);
  EXPECT_EQ(weights_of(f / "m.gguf"), weights_of(source));
  const ExportResult back = export_model(f / "m.gguf", f / "hf", to(kHf));
  EXPECT_LE(back.deviation, 1e-5);
  EXPECT_EQ(weights_of(f / "hf"), weights_of(source));
  EXPECT_LE(deviation(logits_of(f / "hf"), logits_of(source)), 1e-5);
  const auto was = read_json(source / "config.json");
  const auto is = read_json(f / "hf/config.json");
  if (was["model_type"] != "mistral") {  // a GGUF calls it a llama; the window says what it was
    EXPECT_EQ(is["model_type"], was["model_type"]);
  }
  if (was.contains("rope_scaling") && !was["rope_scaling"].is_null()) {
    EXPECT_EQ(is["rope_scaling"]["rope_type"], was["rope_scaling"]["rope_type"]);  // Llama 3's, from its list
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ExportOf,
                         testing::Values("llama", "llama3-rope", "linear-rope", "yarn-rope", "mistral",
                                         "qwen2", "qwen3", "olmo2"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Export, WritesGemmasGainsAndWindowsAsEachFormatHasThem) {
  for (const std::string name : {"gemma2", "gemma3"}) {
    const TempFolder f;
    ModelConfig config = read_config(kFamilies / name);
    // The fixture's scale of scores is its own, which GGUF has no key for.
    EXPECT_ERROR(export_model(kFamilies / name, f / "m.gguf", to(kGguf)), ErrorCode::kFailed,
                 "query_pre_attn_scalar");
    config.query_pre_attn_scalar = static_cast<double>(config.head_dim);
    const size_t period = name == "gemma2" ? 2 : 6;
    for (size_t l = 0; l < config.windowed.size(); ++l) config.windowed[l] = (l + 1) % period != 0;
    ModelConfig pruned = config;
    pruned.windowed[0] = false;  // not the family's own pattern, which is all that llama.cpp knows
    EXPECT_ERROR(export_model(save_tiny(f / "pruned", pruned), f / "m.gguf", to(kGguf)), ErrorCode::kFailed,
                 "the window");
    const fs::path source = save_tiny(f / "source", config);
    EXPECT_LE(export_model(source, f / "m.gguf", to(kGguf)).deviation_from_source, 1e-5) << name;
    EXPECT_EQ(read_config(f / "m.gguf").windowed, config.windowed);
    EXPECT_LE(export_model(f / "m.gguf", f / "hf", to(kHf)).deviation_from_source, 1e-5) << name;
    const std::vector<float> a = weights_of(source), b = weights_of(f / "m.gguf");
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-6) << name << " " << i;
  }
}

TEST(Export, NamesWhatHalfPrecisionCannotHold) {
  const TempFolder f;
  ResidentWeights<float> weights(tiny_config(NormType::kPre));
  initialize(weights.values(), weights.list(), 1);
  const ParamSpec& spec = weights.list()[3];
  weights.values(spec)[5] = 1e5f;
  std::filesystem::create_directories(f / "source");
  save_model(f / "source", weights.config(), weights.list(), weights.values(), DType::kF32);
  for (const ExportFormat format : {kHf, kGguf}) {
    EXPECT_ERROR(export_model(f / "source", f / "out", to(format, StoredType::kF16)), ErrorCode::kFailed,
                 spec.name.c_str(), "100000", "65504", "--type bf16");
    EXPECT_FALSE(std::filesystem::exists(f / "out"));
  }
}

TEST(Export, RoundsToEachTypeOnceAndSaysWhatItCosts) {
  const TempFolder f;
  ModelConfig config = tiny_config(NormType::kPre);
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.head_dim = 16;
  const fs::path source = save_tiny(f / "source", config);
  ResidentWeights<float> weights(config);
  load_weights(weights, source);
  for (const auto& [type, format] : {std::pair{StoredType::kF32, kGguf},
                                     {StoredType::kF16, kGguf},
                                     {StoredType::kBf16, kGguf},
                                     {StoredType::kQ8_0, kGguf},
                                     {StoredType::kF16, kHf},
                                     {StoredType::kBf16, kHf}}) {
    const std::string name = std::string(stored_type_name(type)) + (format == kGguf ? ".gguf" : "");
    const ExportResult r = export_model(source, f / name, to(format, type));
    EXPECT_LE(r.deviation, 1e-6) << name;
    EXPECT_EQ(r.deviation_from_source > 1e-6, type != StoredType::kF32) << name;
    const std::vector<float> read = weights_of(f / name);
    for (const ParamSpec& spec : weights.list()) {
      std::vector<float> expected(weights.values(spec), weights.values(spec) + spec.size());
      if (spec.is_matrix() || format == kHf) round_through(expected.data(), type, spec.size());
      for (size_t i = 0; i < spec.size(); ++i)
        ASSERT_EQ(read[spec.offset + i], expected[i]) << name << spec.name;
    }
    if (format == kHf) {
      const auto json = read_json(f / name / "config.json");
      EXPECT_EQ(json["torch_dtype"], type == StoredType::kF16 ? "float16" : "bfloat16");
    }
  }
  // What is stored narrowly goes on so by itself.
  export_model(f / "Q8_0.gguf", f / "again.gguf", to(kGguf));
  EXPECT_EQ(weights_of(f / "again.gguf"), weights_of(f / "Q8_0.gguf"));
  EXPECT_EQ(export_model(f / "Q8_0.gguf", f / "wide", to(kHf)).type, StoredType::kF32);
  EXPECT_EQ(export_model(f / "BF16", f / "same", to(kHf)).type, StoredType::kBf16);
  EXPECT_ERROR(export_model(source, f / "x", to(kHf, StoredType::kQ8_0)), ErrorCode::kUsage, "q8_0", "gguf");
}

TEST(Export, KeepsRowsThatAreNoWholeBlocksInF16) {
  const TempFolder f;  // rows of 24 and 20
  const ExportResult r = export_model(save_tiny(f / "source", tiny_config(NormType::kPre)), f / "q.gguf",
                                      to(kGguf, StoredType::kQ8_0));
  EXPECT_GT(r.kept_wider.size(), 20u);
}

// Trap 18: nobody stores which l a kept layer had.
TEST(Trap18, FoldedLnsIsAPlainLlamaWithTheSameLogits) {
  const TempFolder f;
  for (const std::string name : {"lns", "lns-pruned", "layerscale"}) {
    const fs::path source = kGoldens / name;
    for (const auto& [format, file] : {std::pair{kHf, name}, {kGguf, name + ".gguf"}}) {
      const ExportResult r = export_model(source, f / file, to(format, {}, true));
      EXPECT_EQ(r.model_type, "llama");
      EXPECT_LE(r.deviation_from_source, 1e-5) << file;
      EXPECT_LE(deviation(logits_of(f / file), logits_of(source)), 1e-5) << file;
      EXPECT_EQ(read_config(f / file).norm.type, NormType::kPre);
    }
    const auto json = read_json(f / name / "config.json");
    EXPECT_EQ(json["architectures"], nlohmann::json({"LlamaForCausalLM"}));
    EXPECT_FALSE(json.contains("norm_scheme"));
    EXPECT_FALSE(fs::exists(f / name / "modeling_fathom.py"));
  }
  // The comparison can fail: without its scales LNS is another function.
  EXPECT_GT(deviation(logits_of(kGoldens / "lns", true), logits_of(kGoldens / "lns")), 1e-2);
}

TEST(Export, FoldsInNarrowTypesWithOneRounding) {
  const TempFolder f;
  const ExportResult r = export_model(kGoldens / "lns", f / "hf", to(kHf, StoredType::kBf16, true));
  EXPECT_LE(r.deviation, 1e-5);
  // Folded norms stay F32.
  EXPECT_EQ(open_tensor_store(f / "hf")->at("model.layers.1.input_layernorm.weight").type, StoredType::kF32);
  EXPECT_EQ(open_tensor_store(f / "hf")->at("model.norm.weight").type, StoredType::kBf16);
}

TEST(Export, WithoutFoldingOnlyOurClassHoldsAScheme) {
  const TempFolder f;
  for (const NormType type : test::all_norms()) {
    const std::string name(norm_name(type));
    const fs::path source = save_tiny(f / name, tiny_config(type));
    const ExportResult r = export_model(source, f / (name + "-hf"), to(kHf));
    EXPECT_EQ(r.model_type, type == NormType::kPre ? "llama" : "fathom");
    EXPECT_EQ(r.deviation_from_source, 0) << name;
    EXPECT_EQ(fs::exists(f / (name + "-hf") / "modeling_fathom.py"), type != NormType::kPre);
    if (type == NormType::kPre) continue;
    const bool folds = type == NormType::kLns || type == NormType::kLayerScale;
    EXPECT_ERROR(export_model(source, f / "x.gguf", to(kGguf)), ErrorCode::kFailed,
                 ("'" + name + "'").c_str(), folds ? "--fold-norm-scale" : "--format hf");
    if (!folds) {
      EXPECT_ERROR(export_model(source, f / "x.gguf", to(kGguf, {}, true)), ErrorCode::kUsage,
                   ("'" + name + "'").c_str(), "--format hf");
    }
  }
  EXPECT_FALSE(fs::exists(f / "x.gguf"));
}

TEST(Export, GgufRefusesByNameWhatLlamaCppDoesNotCompute) {
  ModelConfig yarn = tiny_config(NormType::kPre);
  yarn.rope_scaling = {
      .type = RopeScaling::Type::kYarn, .factor = 4, .original_context = 16, .beta_fast = 16};
  EXPECT_ERROR(gguf_architecture_of(yarn), ErrorCode::kFailed, "YaRN", "beta_fast");
  ModelConfig qwen = tiny_config(NormType::kPre);
  qwen.family = "qwen2";
  qwen.head_dim = 6;
  qwen.sliding_window = 4;
  EXPECT_ERROR(gguf_architecture_of(qwen), ErrorCode::kFailed, "sliding window");
  ModelConfig olmo = tiny_config(NormType::kReordered);
  olmo.family = "olmo2";
  olmo.qk_norm = QkNorm::kWhole;
  EXPECT_ERROR(gguf_architecture_of(olmo), ErrorCode::kFailed, "olmo2", "head size");
  ModelConfig biased = tiny_config(NormType::kPre);
  biased.attention_bias = true;
  EXPECT_EQ(gguf_architecture_of(biased), "llama");  // whose biases are optional
  biased.sliding_window = 4;
  EXPECT_ERROR(gguf_architecture_of(biased), ErrorCode::kFailed, "biases");
  ModelConfig scaled = tiny_config(NormType::kPre);
  scaled.rope_scaling = {.type = RopeScaling::Type::kLlama3, .factor = 8, .original_context = 16};
  EXPECT_EQ(gguf_architecture_of(scaled), "llama");
  scaled.family = "qwen2";
  scaled.attention_bias = true;
  scaled.head_dim = scaled.hidden_size / scaled.num_attention_heads;
  EXPECT_ERROR(gguf_architecture_of(scaled), ErrorCode::kFailed, "qwen2", "factors");
}

TEST(Export, ATakenNameIsLeftAlone) {
  const TempFolder f;
  write_text_file(f / "m.gguf", "mine");
  EXPECT_ERROR(export_model(kGoldens / "pre", f / "m.gguf", to(kGguf)), ErrorCode::kFailed, "exists already");
  EXPECT_EQ(read_text_file(f / "m.gguf"), "mine");
  fs::create_directories(f / "empty");
  export_model(kGoldens / "pre", f / "empty", to(kHf));
  EXPECT_ERROR(export_model(kGoldens / "pre", f / "empty", to(kHf)), ErrorCode::kFailed, "exists already");
}

TEST(Export, AFullDiskLeavesNothing) {
  const TempFolder f;
  const test::FileSizeLimit limit(4096);
  EXPECT_ERROR(export_model(kGoldens / "pre", f / "hf", to(kHf)), ErrorCode::kFailed, "cannot write");
  EXPECT_ERROR(export_model(kGoldens / "pre", f / "m.gguf", to(kGguf)), ErrorCode::kFailed, "cannot write");
  EXPECT_TRUE(fs::is_empty(f.path()));
}

TEST(Export, ADamagedSourceIsNamedAndLeavesNothing) {
  const TempFolder f;
  fs::copy(kGoldens / "pre", f / "source");
  fs::resize_file(f / "source/model.safetensors", fs::file_size(f / "source/model.safetensors") - 4);
  EXPECT_ERROR(export_model(f / "source", f / "out", to(kHf)), ErrorCode::kFailed, "model.safetensors");
  EXPECT_EQ(std::distance(fs::directory_iterator(f.path()), {}), 1);
}

}  // namespace
}  // namespace fathom
