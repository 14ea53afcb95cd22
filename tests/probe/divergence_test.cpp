#include "probe/divergence.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/heard_progress.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::tiny_config;
using test::TinyModel;

const TokenSequences kSequences{{1, 2, 3, 4, 5, 6}, {7, 8, 9}};

template <class W>
Divergence divergence_of(TinyModel<W>& a, TinyModel<W>& b, double tolerance = 1e-4) {
  return find_divergence(a.model, a.weights, b.model, b.weights, kSequences, 2, tolerance);
}

template <class W>
void double_tensor(TinyModel<W>& m, const std::string& name) {
  for (const ParamSpec& p : m.weights.list()) {
    if (p.name != name) continue;
    for (size_t i = 0; i < p.size(); ++i) m.weights.values(p)[i] *= 2;
  }
  m.weights.refresh();
}

TEST(Divergence, OfEqualModelsIsNone) {
  for (const NormType type : test::all_norms()) {
    TinyModel<float> a(tiny_config(type)), b(tiny_config(type));
    const Divergence d = divergence_of(a, b);
    EXPECT_FALSE(d.first.has_value());
    EXPECT_TRUE(d.tensors.empty());
    EXPECT_EQ(d.places.size(), 10u);  // embedding, four layers of two steps, head
    for (const PlaceDeviation& p : d.places) EXPECT_EQ(p.deviation, 0.0) << p.place.text();
  }
}

TEST(Divergence, SaysHowFarItIs) {
  TinyModel<float> a(tiny_config(NormType::kPre)), b(tiny_config(NormType::kPre));
  test::HeardProgress heard;
  find_divergence(a.model, a.weights, b.model, b.weights, kSequences, 1, 1e-4, &heard);
  EXPECT_EQ(heard.text(), "compare 16 layers");  // four of two models, for two batches
}

TEST(Divergence, NamesTheFirstPlaceAndTensor) {
  const struct {
    const char *tensor, *place;
  } cases[] = {{"model.embed_tokens.weight", "embedding"},
               {"model.embed_norm.weight", "embedding"},
               {"model.layers.2.self_attn.v_proj.weight", "layer 3, attention"},
               {"model.layers.0.input_layernorm.weight", "layer 1, attention"},
               {"model.layers.1.mlp.down_proj.weight", "layer 2, MLP"},
               {"model.layers.3.post_feedforward_layernorm.weight", "layer 4, MLP"},
               {"model.norm.weight", "head"},
               {"lm_head.weight", "head"}};
  for (const auto& c : cases) {
    TinyModel<bf16> a(tiny_config(NormType::kPeri)), b(tiny_config(NormType::kPeri));
    // A norm on each output would undo a factor on the whole of what it reads: v, down and the embedding are
    // changed in one element instead.
    double_tensor(b, c.tensor);
    for (const ParamSpec& p : b.weights.list()) {
      if (p.name == c.tensor && p.is_matrix())
        b.weights.values(p)[p.size() - 1] += 3, b.weights.values(p)[8] -= 3;
      if (p.name == c.tensor && p.name == "model.embed_tokens.weight") b.weights.values(p)[24] += 3;
    }
    b.weights.refresh();
    const Divergence d = divergence_of(a, b, 2e-2);
    ASSERT_TRUE(d.first.has_value()) << c.tensor;
    EXPECT_EQ(d.first->text(), c.place);
    EXPECT_EQ(d.tensor, c.tensor);
    EXPECT_EQ(d.tensors.size(), 1u);
  }
}

TEST(Divergence, WithoutATensorIsTheConfigs) {
  TinyModel<float> a(tiny_config(NormType::kLns)), b(tiny_config(NormType::kPre));
  const Divergence d = divergence_of(a, b);
  ASSERT_TRUE(d.first.has_value());
  EXPECT_EQ(d.first->text(), "layer 2, attention");  // 1/sqrt(1) is 1
  EXPECT_TRUE(d.tensor.empty());
}

// Folding the scale into the gains changes tensors and nothing that they compute.
TEST(Divergence, OfAFoldedModelIsNoneThoughTensorsDiffer) {
  TinyModel<float> lns(tiny_config(NormType::kLns)), pre(tiny_config(NormType::kPre));
  for (const ParamSpec& p : pre.weights.list()) {
    if (p.role != ParamRole::kAttnNormIn && p.role != ParamRole::kMlpNormIn) continue;
    for (size_t i = 0; i < p.size(); ++i)
      pre.weights.values(p)[i] /= std::sqrt(static_cast<float>(p.layer + 1));
  }
  const Divergence d = divergence_of(lns, pre);
  EXPECT_FALSE(d.first.has_value());
  EXPECT_EQ(d.tensors.size(), 6u);  // two norms in each of layers 2 to 4
}

// So does folding LayerScale's gains, after which there are none.
TEST(Divergence, OfAModelWhoseGainsAreFoldedIsNoneThoughTensorsLack) {
  TinyModel<float> scaled(tiny_config(NormType::kLayerScale)), pre(tiny_config(NormType::kPre));
  for (const ParamSpec& p : pre.weights.list()) {
    const ParamSpec* source = nullptr;
    const ParamSpec* gain = nullptr;
    for (const ParamSpec& s : scaled.weights.list()) {
      if (s.name == p.name) source = &s;
      if (s.layer == p.layer &&
          s.role == (p.role == ParamRole::kO ? ParamRole::kAttnGain : ParamRole::kMlpGain))
        gain = &s;
    }
    std::copy_n(scaled.weights.values(*source), p.size(), pre.weights.values(p));
    if (p.role != ParamRole::kO && p.role != ParamRole::kDown) continue;
    for (size_t i = 0; i < p.size(); ++i)
      pre.weights.values(p)[i] *= scaled.weights.values(*gain)[i / p.shape[1]];
  }
  const Divergence d = divergence_of(scaled, pre);
  EXPECT_FALSE(d.first.has_value());
  EXPECT_EQ(d.tensors.size(), 8u);  // o and down of four layers
  EXPECT_EQ(divergence_of(pre, scaled).tensors.size(), 8u);
}

TEST(Divergence, NotANumberIsBeyondAnyTolerance) {
  TinyModel<float> a(tiny_config(NormType::kPre)), b(tiny_config(NormType::kPre));
  b.weights.values()[b.weights.list()[0].size() + 3] = std::numeric_limits<float>::quiet_NaN();
  const Divergence d = divergence_of(a, b, 1e9);
  ASSERT_TRUE(d.first.has_value());
  EXPECT_EQ(d.first->text(), "layer 1, attention");
}

TEST(Divergence, NeedsOneShape) {
  TinyModel<float> a(tiny_config(NormType::kPre)), deeper(tiny_config(NormType::kPre, 5)),
      post(tiny_config(NormType::kPost));
  EXPECT_ERROR(divergence_of(a, deeper), ErrorCode::kFailed, "not of one shape");
  EXPECT_ERROR(divergence_of(a, post), ErrorCode::kFailed, "not of one shape", "input_layernorm");
}

}  // namespace
}  // namespace fathom
