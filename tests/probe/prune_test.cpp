#include "probe/prune.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/family_models.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::tiny_config;

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
  EXPECT_ERROR(parse_layers("7", 5, "--protect"), ErrorCode::kUsage, "--protect '7'");
  EXPECT_EQ(parse_layers("1-5", 5).size(), 5u);
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

// Removal is of a set: the order in which layers are named does not matter, and taking them one after the
// other, each by its place in what is left, is the same. (A known tool deletes in rising order, so that later
// numbers shift.)
TEST(PrunedConfig, RemovalIsOfASet) {
  for (const NormType type : test::all_norms()) {
    const ModelConfig config = tiny_config(type, 8);
    EXPECT_EQ(parse_layers("6,2-3", 8), parse_layers("3,6,2", 8));
    const ModelConfig together = pruned_config(config, parse_layers("6,2-3", 8));
    const size_t first[] = {2}, second[] = {2, 5};  // 3 and 6 of the original, in what is left
    const ModelConfig in_turn = pruned_config(pruned_config(config, first), second);
    EXPECT_EQ(together.norm.layer_index, in_turn.norm.layer_index);
    EXPECT_EQ(together.norm.layer_index, (std::vector<size_t>{1, 4, 5, 7, 8}));
    EXPECT_EQ(together.num_hidden_layers, 5u);
  }
}

TEST(PrunedConfig, KeepsTheWindowsOfItsLayers) {
  const ModelConfig config = test::tiny_gemma2();
  ASSERT_EQ(config.windowed, (std::vector<bool>{true, false, true, false}));
  const size_t dropped[] = {2};
  EXPECT_EQ(pruned_config(config, dropped).windowed, (std::vector<bool>{true, true, false}));
}

TEST(PrunedConfig, NeedsALayer) {
  const size_t all[] = {1, 2, 3, 4};
  EXPECT_ERROR(pruned_config(tiny_config(NormType::kPre), all), ErrorCode::kUsage, "no layer would be left");
}

}  // namespace
}  // namespace fathom
