#include "model/block.h"

#include <cmath>

#include <gtest/gtest.h>

#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::tiny_config;
using test::TinyBatch;
using test::TinyModel;

std::vector<double> random_stream(size_t n) {
  Rng rng(21);
  std::vector<double> x(n);
  for (double& v : x) v = rng.normal();
  return x;
}

class BlockOf : public testing::TestWithParam<NormType> {};

// A public implementation of LNS created no norms and returned its input: the model trained an embedding and
// a head, without a word.
TEST_P(BlockOf, ChangesItsInput) {
  const ModelConfig config = tiny_config(GetParam());
  TinyModel<double> m(config);
  const TinyBatch data(1, 6, config.vocab_size);
  const std::vector<double> input = random_stream(6 * config.hidden_size);
  for (size_t l = 0; l < config.num_hidden_layers; ++l) {
    for (const TapPoint point : {TapPoint::kAttention, TapPoint::kMlp}) {
      std::vector<double> x = input;
      double change = 0;
      const ProgramStep<double> step{l, nullptr};
      m.model.run(x.data(), {&step, 1}, data.view(), [&](const Tap<double>& tap) {
        if (tap.point != point) return;
        for (size_t i = 0; i < x.size(); ++i) change += std::abs(tap.after[i] - tap.before[i]);
      });
      EXPECT_GT(change / static_cast<double>(x.size()), 1e-3) << "layer " << l;
    }
  }
}

TEST_P(BlockOf, MeasuresTheConstantsInForce) {
  for (const size_t layers : {4u, 12u}) {
    const ModelConfig config = tiny_config(GetParam(), layers);
    TinyModel<float> m(config);
    for (size_t l = 0; l < layers; ++l) {
      const StepPlan& plan = m.model.plans()[l].step;
      const LayerWeights<float> w = m.weights.layer(l);
      for (const auto& vectors : {w.attn, w.mlp}) {
        const MeasuredStep measured = measure_step<float>(plan, vectors, config);
        EXPECT_NEAR(measured.residual, plan.residual, 1e-5);
        EXPECT_NEAR(measured.in_scale, plan.norm_in ? plan.in_scale : 0, 1e-5);
        EXPECT_NEAR(measured.out_scale, plan.norm_out ? 1 : 0, 1e-4);
        EXPECT_NEAR(measured.sum_scale, plan.norm_sum ? 1 : 0, 1e-5);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Norms, BlockOf, testing::ValuesIn(test::all_norms()),
                         [](const auto& info) { return std::string(norm_name(info.param)); });

// The measurement is of the live step, so that a spoiled one shows.
TEST(MeasureStep, SeesASpoiledConstant) {
  const ModelConfig config = tiny_config(NormType::kLns);
  TinyModel<float> m(config);
  StepPlan plan = m.model.plans()[3].step;
  EXPECT_NEAR(plan.in_scale, 0.5, 1e-12);
  plan.in_scale *= 1.01;
  EXPECT_NEAR(measure_step<float>(plan, m.weights.layer(3).attn, config).in_scale, 0.505, 1e-5);
}

// LNS with its norm gains multiplied by sqrt(l) is Pre-LN: the algebra that folds the scale into an export.
TEST(Block, LnsWithGainsTimesRootOfLayerIsPre) {
  const size_t layers = 6;
  TinyModel<double> pre(tiny_config(NormType::kPre, layers)), lns(tiny_config(NormType::kLns, layers));
  for (const ParamSpec& p : lns.weights.list()) {
    if (p.role != ParamRole::kAttnNormIn && p.role != ParamRole::kMlpNormIn) continue;
    for (size_t i = 0; i < p.size(); ++i)
      lns.weights.values(p)[i] *= std::sqrt(static_cast<double>(p.layer + 1));
  }
  const TinyBatch data(2, 8, 37);
  std::vector<double> a(16), b(16);
  pre.model.forward(a.data(), data.view());
  lns.model.forward(b.data(), data.view());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-12);
}

}  // namespace
}  // namespace fathom
