#include "probe/prune.h"

#include <gtest/gtest.h>

#include "core/file.h"
#include "io/safetensors.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::tiny_config;

void save_tiny(const std::filesystem::path& folder, const ModelConfig& config, DType stored) {
  std::filesystem::create_directories(folder);
  ResidentWeights<float> weights(config);
  test::randomize(weights, 2);
  save_model(folder, config, weights.list(), weights.values(), stored);
}

TEST(ParseLayers, ReadsRangesAndRefusesTheRest) {
  using Layers = std::vector<size_t>;
  EXPECT_EQ(parse_layers("3", 5), Layers{3});
  EXPECT_EQ(parse_layers("4-5,1", 5), (Layers{1, 4, 5}));
  for (const char* bad :
       {"", ",", "a", "1,", "-3", "2-", "0", "1-x", "1.5", " 1", "1;2", "99999999999999999999"})
    EXPECT_ERROR(parse_layers(bad, 5), ErrorCode::kUsage, "--drop", "1..5");
  EXPECT_ERROR(parse_layers("6", 5), ErrorCode::kUsage, "layer 6 is beyond the last, 5");
  EXPECT_ERROR(parse_layers("1-18446744073709551615", 5), ErrorCode::kUsage, "beyond the last");
  EXPECT_ERROR(parse_layers("3-2", 5), ErrorCode::kUsage, "runs backwards");
  EXPECT_ERROR(parse_layers("2-3,3", 5), ErrorCode::kUsage, "layer 3 is named twice");
  EXPECT_ERROR(parse_layers("1-5", 5), ErrorCode::kUsage, "no layer would be left");
}

TEST(PrunedConfig, KeepsConstantsAndOriginalIndicesThroughSeveralRounds) {
  ModelConfig config = tiny_config(NormType::kDeepNorm, 8);
  const double alpha = layer_plans(config.norm, 8)[0].step.residual;
  const size_t first[] = {2, 5}, second[] = {1, 6};
  const ModelConfig once = pruned_config(config, first);
  EXPECT_EQ(once.norm.layer_index, (std::vector<size_t>{1, 3, 4, 6, 7, 8}));
  const ModelConfig twice = pruned_config(once, second);
  EXPECT_EQ(twice.norm.layer_index, (std::vector<size_t>{3, 4, 6, 7}));
  EXPECT_EQ(twice.norm.num_layers_original, 8u);
  EXPECT_EQ(twice.num_hidden_layers, 4u);
  EXPECT_EQ(layer_plans(twice.norm, 4)[0].step.residual, alpha);
}

class WritePruned : public testing::TestWithParam<NormType> {};

TEST_P(WritePruned, KeepsWeightsPrecisionAndTokenizer) {
  for (const DType stored : {DType::kF32, DType::kBf16}) {
    const test::TempFolder temp;
    save_tiny(temp / "model", tiny_config(GetParam(), 6), stored);
    write_text_file(temp / "model/tokenizer.json", "{}");
    const size_t dropped[] = {2, 5};
    write_pruned(temp / "model", dropped, temp / "pruned");
    const SafetensorsFile a(temp / "model/model.safetensors"), b(temp / "pruned/model.safetensors");
    const TensorView &kept = b.at("model.layers.1.mlp.up_proj.weight"),
                     &from = a.at("model.layers.2.mlp.up_proj.weight");
    EXPECT_EQ(kept.type, stored == DType::kBf16 ? StoredType::kBf16 : StoredType::kF32);
    EXPECT_TRUE(std::equal(kept.data, kept.data + kept.size_bytes, from.data, from.data + from.size_bytes));
    EXPECT_EQ(read_text_file(temp / "pruned/tokenizer.json"), "{}");
    EXPECT_EQ(read_config(temp / "pruned").norm.layer_index, (std::vector<size_t>{1, 3, 4, 6}));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(temp.path()), {}), 2);  // nothing left over
  }
}

INSTANTIATE_TEST_SUITE_P(Norms, WritePruned, testing::ValuesIn(test::all_norms()),
                         [](const auto& info) { return std::string(norm_name(info.param)); });

TEST(WritePrunedOutput, IsNeverOverwrittenAndNeverHalf) {
  const test::TempFolder temp;
  save_tiny(temp / "model", tiny_config(NormType::kLns), DType::kF32);
  write_text_file(temp / "taken", "a file");
  std::filesystem::create_directories(temp / "full");
  write_text_file(temp / "full/notes.txt", "mine");
  const size_t dropped[] = {1};
  EXPECT_ERROR(write_pruned(temp / "model", dropped, temp / "taken"), ErrorCode::kFailed, "exists already");
  EXPECT_ERROR(write_pruned(temp / "model", dropped, temp / "full"), ErrorCode::kFailed, "exists already");
  EXPECT_EQ(read_text_file(temp / "full/notes.txt"), "mine");
  std::filesystem::create_directories(temp / "empty");
  write_pruned(temp / "model", dropped, temp / "empty");
  EXPECT_TRUE(std::filesystem::exists(temp / "empty/model.safetensors"));
  std::filesystem::resize_file(temp / "model/model.safetensors", 1000);
  EXPECT_ERROR(write_pruned(temp / "model", dropped, temp / "new"), ErrorCode::kFailed, "model.safetensors");
  EXPECT_FALSE(std::filesystem::exists(temp / "new"));
}

}  // namespace
}  // namespace fathom
