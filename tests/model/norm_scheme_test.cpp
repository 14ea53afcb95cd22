#include "model/norm_scheme.h"

#include <cmath>

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

TEST(NormScheme, DeepNormHasThePapersConstants) {
  // Wang et al. 2022, table 1 for a decoder: alpha (2N)^(1/4), beta (8N)^(-1/4).
  const struct {
    size_t layers;
    double alpha, beta;
  } expected[] = {{12, 2.2134, 0.3195}, {24, 2.6321, 0.2686}, {32, 2.8284, 0.2500}};
  for (const auto& e : expected) {
    EXPECT_NEAR(resolved({.type = NormType::kDeepNorm}, e.layers).alpha, e.alpha, 5e-5);
    EXPECT_NEAR(init_factor(NormType::kDeepNorm, e.layers), e.beta, 5e-5);
    for (const LayerPlan& p : layer_plans({.type = NormType::kDeepNorm}, e.layers))
      EXPECT_NEAR(p.step.residual, e.alpha, 5e-5);
  }
  EXPECT_EQ(init_factor(NormType::kPre, 12), 1.0);
  EXPECT_EQ(layer_plans({.type = NormType::kDeepNorm, .alpha = 1.5}, 3)[1].step.residual, 1.5);
}

TEST(NormScheme, LnsDividesByTheRootOfTheLayer) {
  const auto plans = layer_plans({.type = NormType::kLns}, 9);
  for (size_t l = 1; l <= 9; ++l) {
    EXPECT_EQ(plans[l - 1].index, l);
    EXPECT_DOUBLE_EQ(plans[l - 1].step.in_scale, 1 / std::sqrt(static_cast<double>(l)));
  }
}

TEST(NormScheme, EachSchemePlacesItsNorms) {
  struct Expected {
    NormType type;
    bool in, out, sum, gain, embed;
  };
  const Expected table[] = {{NormType::kPre, true, false, false, false, false},
                            {NormType::kLns, true, false, false, false, false},
                            {NormType::kPost, false, false, true, false, false},
                            {NormType::kDeepNorm, false, false, true, false, false},
                            {NormType::kSandwich, true, true, false, false, false},
                            {NormType::kPeri, true, true, false, false, true},
                            {NormType::kLayerScale, true, false, false, true, false}};
  for (const Expected& e : table) {
    EXPECT_EQ(has_embed_norm(e.type), e.embed);
    EXPECT_EQ(is_plain_llama({.type = e.type}), e.type == NormType::kPre);
    for (const LayerPlan& p : layer_plans({.type = e.type}, 5)) {
      EXPECT_EQ(p.step.norm_in, e.in) << norm_name(e.type);
      EXPECT_EQ(p.step.norm_out, e.out) << norm_name(e.type);
      EXPECT_EQ(p.step.norm_sum, e.sum) << norm_name(e.type);
      EXPECT_EQ(p.step.gain, e.gain) << norm_name(e.type);
      if (e.type != NormType::kLns) {
        EXPECT_EQ(p.step.in_scale, 1.0);
      }
      if (e.type != NormType::kDeepNorm) {
        EXPECT_EQ(p.step.residual, 1.0);
      }
    }
  }
}

TEST(NormScheme, MixIsPostBelowAndPreAbove) {
  const auto post_layers = [](const NormScheme& scheme, size_t layers) {
    std::string kinds;
    for (const LayerPlan& p : layer_plans(scheme, layers))
      kinds += p.step.norm_sum ? 's' : p.step.norm_in ? 'i' : '?';
    return kinds;
  };
  EXPECT_EQ(post_layers({.type = NormType::kMix}, 8), "ssiiiiii");
  EXPECT_EQ(post_layers({.type = NormType::kMix}, 7), "siiiiii");
  EXPECT_EQ(post_layers({.type = NormType::kMix, .post_layers = 3}, 5), "sssii");
  EXPECT_EQ(post_layers({.type = NormType::kMix, .post_layers = 0}, 3), "iii");
}

TEST(NormScheme, PrunedLayersKeepScaleAndKind) {
  const auto lns =
      layer_plans({.type = NormType::kLns, .num_layers_original = 9, .layer_index = {1, 4, 9}}, 3);
  EXPECT_DOUBLE_EQ(lns[1].step.in_scale, 0.5);
  EXPECT_DOUBLE_EQ(lns[2].step.in_scale, 1.0 / 3.0);
  const auto mix = layer_plans({.type = NormType::kMix, .num_layers_original = 8, .layer_index = {2, 3}}, 2);
  EXPECT_TRUE(mix[0].step.norm_sum);  // the second of eight layers
  EXPECT_TRUE(mix[1].step.norm_in);
  const auto deep =
      layer_plans({.type = NormType::kDeepNorm, .num_layers_original = 12, .layer_index = {5}}, 1);
  EXPECT_NEAR(deep[0].step.residual, 2.2134, 5e-5);
}

TEST(NormScheme, RejectsWhatDoesNotFit) {
  EXPECT_ERROR(layer_plans({.type = NormType::kLns, .layer_index = {1}}, 2), ErrorCode::kFailed,
               "layer_index");
  EXPECT_ERROR(layer_plans({.type = NormType::kLns, .num_layers_original = 4, .layer_index = {2, 2}}, 2),
               ErrorCode::kFailed, "rise", "found 2");
  EXPECT_ERROR(layer_plans({.type = NormType::kLns, .num_layers_original = 4, .layer_index = {2, 5}}, 2),
               ErrorCode::kFailed, "1..4", "found 5");
  EXPECT_ERROR(layer_plans({.type = NormType::kLns, .num_layers_original = 4, .layer_index = {0, 1}}, 2),
               ErrorCode::kFailed, "found 0");
  EXPECT_ERROR(layer_plans({.type = NormType::kMix, .post_layers = 5}, 4), ErrorCode::kFailed, "post_layers");
}

TEST(NormScheme, NamesAreExactAndTheNearestIsSuggested) {
  for (const NormType type : test::all_norms()) {
    EXPECT_EQ(parse_norm(std::string(norm_name(type))), type);
    EXPECT_FALSE(norm_description(type).empty());
  }
  EXPECT_EQ(norm_names().size(), test::all_norms().size());
  EXPECT_ERROR(parse_norm("lsn"), ErrorCode::kUsage, "'lsn'", "did you mean 'lns'?", "layerscale");
  // One public implementation compared a lower-cased name with an upper-case one and ran without any norm.
  EXPECT_ERROR(parse_norm("LNS"), ErrorCode::kUsage, "'LNS'");
}

}  // namespace
}  // namespace fathom
