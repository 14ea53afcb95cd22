#include "model/parameters.h"

#include <cmath>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::tiny_config;

std::vector<std::string> layer_vectors(NormType type) {
  std::vector<std::string> names;
  const std::string prefix = "model.layers.0.";
  for (const ParamSpec& p : parameter_list(tiny_config(type))) {
    if (p.layer == 0 && !p.is_matrix()) names.push_back(p.name.substr(prefix.size()));
  }
  return names;
}

TEST(Parameters, NormsHaveHuggingFacesNames) {
  using Names = std::vector<std::string>;
  const Names pre{"input_layernorm.weight", "post_attention_layernorm.weight"};
  const Names post{"post_attention_layernorm.weight", "post_feedforward_layernorm.weight"};
  const Names gemma{"input_layernorm.weight", "post_attention_layernorm.weight",
                    "pre_feedforward_layernorm.weight", "post_feedforward_layernorm.weight"};
  EXPECT_EQ(layer_vectors(NormType::kPre), pre);
  EXPECT_EQ(layer_vectors(NormType::kLns), pre);
  EXPECT_EQ(layer_vectors(NormType::kPost), post);
  EXPECT_EQ(layer_vectors(NormType::kDeepNorm), post);
  EXPECT_EQ(layer_vectors(NormType::kMix), post);  // the first of four layers
  EXPECT_EQ(layer_vectors(NormType::kSandwich), gemma);
  EXPECT_EQ(layer_vectors(NormType::kPeri), gemma);
  EXPECT_EQ(layer_vectors(NormType::kLayerScale),
            (Names{"input_layernorm.weight", "self_attn.layer_scale", "post_attention_layernorm.weight",
                   "mlp.layer_scale"}));
}

TEST(Parameters, AreDenseUniqueAndDecayMatricesOnly) {
  for (const NormType type : test::all_norms()) {
    ModelConfig config = tiny_config(type);
    config.attention_bias = true;
    std::set<std::string> names, gguf;
    size_t next = 0;
    bool head = false, embed_norm = false;
    for (const ParamSpec& p : parameter_list(config)) {
      EXPECT_EQ(p.offset, next) << p.name;
      next += p.size();
      EXPECT_TRUE(names.insert(p.name).second) << p.name;
      EXPECT_TRUE(gguf.insert(p.gguf_name).second) << p.gguf_name;
      EXPECT_EQ(p.decay, p.shape.size() == 2) << p.name;
      head = head || p.role == ParamRole::kHead;
      embed_norm = embed_norm || p.name == "model.embed_norm.weight";
    }
    EXPECT_EQ(next, parameter_count(parameter_list(config)));
    EXPECT_TRUE(head);
    EXPECT_EQ(embed_norm, type == NormType::kPeri);
    config.tie_word_embeddings = true;
    EXPECT_EQ(parameter_count(parameter_list(config)), next - config.vocab_size * config.hidden_size);
  }
}

TEST(Parameters, QueryKeyAndValueLieOneBehindTheOther) {
  const auto list = parameter_list(tiny_config(NormType::kPre));
  std::map<std::string, const ParamSpec*> at;
  for (const ParamSpec& p : list) at[p.name] = &p;
  const auto end = [&](const char* name) { return at.at(name)->offset + at.at(name)->size(); };
  EXPECT_EQ(end("model.layers.2.self_attn.q_proj.weight"),
            at.at("model.layers.2.self_attn.k_proj.weight")->offset);
  EXPECT_EQ(end("model.layers.2.self_attn.k_proj.weight"),
            at.at("model.layers.2.self_attn.v_proj.weight")->offset);
  EXPECT_EQ(end("model.layers.2.mlp.gate_proj.weight"), at.at("model.layers.2.mlp.up_proj.weight")->offset);
  EXPECT_EQ(at.at("model.layers.0.self_attn.k_proj.weight")->shape, (std::vector<size_t>{16, 24}));
  EXPECT_EQ(at.at("model.layers.0.mlp.down_proj.weight")->shape, (std::vector<size_t>{24, 20}));
}

double init_std(NormType type, InitScheme init, const std::string& part, size_t layers) {
  for (const ParamSpec& p : parameter_list(tiny_config(type, layers), init)) {
    if (p.layer == 1 && p.name.find(part) != std::string::npos) return p.init_value;
  }
  return 0;
}

TEST(Parameters, InitHasTheSchemesDeviations) {
  const auto normal = InitScheme::kNormal, scaled = InitScheme::kScaled;
  for (const char* part : {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}) {
    const std::string name = part;
    const bool output = name == "o_proj" || name == "down_proj", query = name == "q_proj" || name == "k_proj";
    EXPECT_DOUBLE_EQ(init_std(NormType::kLns, normal, part, 12), 0.2) << part;
    EXPECT_DOUBLE_EQ(init_std(NormType::kPre, scaled, part, 8), output ? 0.2 / 4 : 0.2) << part;
    // DeepNorm's authors scale v, o and the FFN, not q and k.
    EXPECT_NEAR(init_std(NormType::kDeepNorm, normal, part, 12), query ? 0.2 : 0.2 * 0.3195, 1e-5) << part;
  }
  EXPECT_EQ(parse_init("scaled"), scaled);
  EXPECT_ERROR(parse_init("xavier"), ErrorCode::kUsage, "'xavier'", "normal, scaled");
}

TEST(Parameters, InitializeDrawsTheDeviationsAndConstants) {
  ModelConfig config = tiny_config(NormType::kLayerScale);
  config.hidden_size = 128;
  config.norm.layerscale_init = 0.03;
  const auto list = parameter_list(config);
  std::vector<float> values(parameter_count(list));
  initialize(values.data(), list, 9);
  for (const ParamSpec& p : list) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      sum += static_cast<double>(values[p.offset + i]);
      squares += static_cast<double>(values[p.offset + i]) * static_cast<double>(values[p.offset + i]);
    }
    const auto n = static_cast<double>(p.size());
    if (!p.is_matrix()) {
      EXPECT_NEAR(sum / n, p.name.ends_with("layer_scale") ? 0.03 : 1.0, 1e-6) << p.name;
      EXPECT_NEAR(squares / n, sum * sum / n / n, 1e-6) << p.name;  // all alike
      continue;
    }
    // Six standard errors of the mean and of the variance.
    EXPECT_NEAR(sum / n, 0, 6 * p.init_value / std::sqrt(n)) << p.name;
    EXPECT_NEAR(squares / n / (p.init_value * p.init_value), 1, 6 * std::sqrt(2 / n)) << p.name;
  }
}

TEST(Parameters, TwinsOfAnySchemeShareTheirMatrices) {
  std::map<std::string, std::vector<float>> pre;
  const auto draw = [](NormType type, uint64_t seed) {
    const auto list = parameter_list(tiny_config(type));
    std::vector<float> values(parameter_count(list));
    initialize(values.data(), list, seed);
    std::map<std::string, std::vector<float>> tensors;
    for (const ParamSpec& p : list) {
      const auto begin = values.begin() + static_cast<std::ptrdiff_t>(p.offset);
      if (p.is_matrix()) tensors[p.name] = {begin, begin + static_cast<std::ptrdiff_t>(p.size())};
    }
    return tensors;
  };
  pre = draw(NormType::kPre, 5);
  for (const NormType type : test::all_norms()) {
    if (type != NormType::kDeepNorm) {
      EXPECT_EQ(draw(type, 5), pre) << norm_name(type);
    }
  }
  EXPECT_NE(draw(NormType::kPre, 6), pre);
  EXPECT_NE(pre["model.layers.0.self_attn.k_proj.weight"], pre["model.layers.1.self_attn.k_proj.weight"]);
}

}  // namespace
}  // namespace fathom
