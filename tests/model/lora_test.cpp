// Adapters and frozen parameters: what is trained has the gradients that it has in full training, what is not
// costs none.

#include "model/lora.h"

#include <cmath>
#include <string>

#include <gtest/gtest.h>

#include "model/frozen_weights.h"
#include "model/memory_plan.h"
#include "support/expect_error.h"
#include "support/family_models.h"
#include "support/finite_differences.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::all_norms;
using test::tiny_config;
using test::TinyBatch;
using test::TinyModel;

// A base model, adapters of which neither matrix is 0, and the model that computes with both.
template <class W>
struct AdaptedModel {
  explicit AdaptedModel(const ModelConfig& config, double size = 0.1)
      : base(config), adapters(config, base.weights), model(config, adapters) {
    Rng rng(1, 5);
    for (size_t i = 0; i < adapters.count(); ++i)
      adapters.values()[i] = static_cast<Stream<W>>(size * rng.normal());
    adapters.refresh();
  }
  double loss(const Batch& batch) {
    std::vector<double> nll(batch.rows());
    model.forward(nll.data(), batch);
    double sum = 0;
    for (const double v : nll) sum += v;
    return sum;
  }
  TinyModel<W> base;
  AdaptedWeights<W> adapters;
  Transformer<W> model;
};

ModelConfig adapted(ModelConfig config, const std::string& targets, size_t rank = 3) {
  config.lora.rank = rank;
  config.lora.alpha = 5;
  config.lora.targets = parse_lora_targets(targets);
  return config;
}

void expect_adapter_gradients_match(const ModelConfig& config, const TrainOptions& options) {
  AdaptedModel<double> m(config);
  const TinyBatch data(2, 7, config.vocab_size);
  const Batch batch = data.view();
  Gradients<double> gradients(config, m.adapters.list());
  EXPECT_EQ(gradients.count(), m.adapters.count());
  const double sum = m.model.forward_backward(batch, gradients, 1.0, options);
  EXPECT_NEAR(sum, m.loss(batch), 1e-9);
  test::expect_gradients_of_differences(
      m.adapters.list(), m.adapters.values(), gradients.values(), [&] { return m.loss(batch); }, 2e-6);
}

class LoraUnder : public testing::TestWithParam<NormType> {};

TEST_P(LoraUnder, GradientsOfEveryAdapterMatchFiniteDifferences) {
  expect_adapter_gradients_match(adapted(tiny_config(GetParam()), "all"), {});
  expect_adapter_gradients_match(adapted(tiny_config(GetParam()), "q,v,down"), {.recompute = true});
}

INSTANTIATE_TEST_SUITE_P(Norms, LoraUnder, testing::ValuesIn(all_norms()),
                         [](const auto& info) { return std::string(norm_name(info.param)); });

TEST(Lora, GradientsMatchFiniteDifferencesInEveryFamily) {
  for (const test::FamilyModel& family : test::family_models()) {
    SCOPED_TRACE(family.name);
    expect_adapter_gradients_match(adapted(family.config, "all"), {});
  }
}

TEST(Lora, TakesAWidthOfRowsThatIsNoMultipleOfAVector) {
  for (const size_t rank : {1, 2, 5, 8, 17})
    expect_adapter_gradients_match(adapted(tiny_config(NormType::kLns), "all", rank), {});
}

template <class W>
std::vector<double> losses(Transformer<W>& model, const Batch& batch) {
  std::vector<double> nll(batch.rows());
  model.forward(nll.data(), batch);
  return nll;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

ModelConfig without_adapters(ModelConfig config) {
  config.lora = {};
  return config;
}

// The products in another order, hence rounding: in double far below, in fp32 by its epsilon, in bf16 by its.
template <class W>
void expect_folded_is_the_same(double tolerance) {
  const ModelConfig config = adapted(tiny_config(NormType::kLns), "all"), bare = without_adapters(config);
  AdaptedModel<W> m(config, 0.4);
  const TinyBatch data(2, 9, config.vocab_size);
  Transformer<W> base(bare, m.base.weights);
  const std::vector<double> beside = losses(m.model, data.view()), before = losses(base, data.view());
  for (const ParamSpec& spec : m.base.weights.list()) {
    const auto projection = projection_of(spec.role);
    if (!projection) continue;
    const Stream<W>*a = nullptr, *b = nullptr;
    for (const ParamSpec& p : m.adapters.list()) {
      if (p.layer != spec.layer || p.adapted != *projection) continue;
      (p.role == ParamRole::kLoraA ? a : b) = m.adapters.values(p);
    }
    fold_adapter(m.base.weights.values(spec), a, b, spec.shape[0], spec.shape[1], config.lora);
  }
  m.base.weights.refresh();
  EXPECT_LT(largest_difference(losses(base, data.view()), beside), tolerance);
  EXPECT_GT(largest_difference(before, beside), 10 * tolerance) << "the adapters change nothing";
}

TEST(Lora, FoldedIntoTheWeightsComputesTheSame) {
  expect_folded_is_the_same<double>(1e-11);
  expect_folded_is_the_same<float>(1e-4);
  expect_folded_is_the_same<bf16>(0.1);
}

TEST(Lora, ChangesNothingAtFirst) {
  const ModelConfig config = adapted(tiny_config(NormType::kPre), "all");
  TinyModel<float> base(config);
  AdaptedWeights<float> adapters(config, base.weights);
  initialize(adapters.values(), adapters.list(), 3);
  Transformer<float> model(config, adapters), plain(without_adapters(config), base.weights);
  const TinyBatch data(2, 9, config.vocab_size);
  EXPECT_EQ(losses(model, data.view()), losses(plain, data.view()));
  for (const ParamSpec& spec : adapters.list()) {
    double largest = 0;
    for (size_t i = 0; i < spec.size(); ++i)
      largest = std::max(largest, std::abs(double(adapters.values(spec)[i])));
    const double bound = 1 / std::sqrt(double(spec.shape[1]));
    if (spec.role == ParamRole::kLoraA) {
      EXPECT_LE(largest, bound) << spec.name;
      EXPECT_GT(largest, 0.8 * bound) << spec.name;
    } else {
      EXPECT_EQ(largest, 0) << spec.name;
    }
  }
}

TEST(Lora, StandsInTheLayersThatAreNamedAlone) {
  ModelConfig config = adapted(tiny_config(NormType::kPre), "q,up");
  config.lora.layers = {false, false, true, false};
  const std::vector<ParamSpec> list = adapter_list(config);
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(list[0].name, "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight");
  EXPECT_EQ(list[0].shape, (std::vector<size_t>{3, 24}));
  EXPECT_EQ(list[1].name, "base_model.model.model.layers.2.self_attn.q_proj.lora_B.weight");
  EXPECT_EQ(list[1].shape, (std::vector<size_t>{32, 3}));
  EXPECT_EQ(list[3].name, "base_model.model.model.layers.2.mlp.up_proj.lora_B.weight");
  EXPECT_EQ(first_trained_layer(list, 4), 2u);
  expect_adapter_gradients_match(config, {});
}

TEST(Lora, TargetsAreReadByNameOrGroup) {
  const auto all = parse_lora_targets("all"), both = parse_lora_targets("attn,mlp");
  EXPECT_EQ(all, both);
  EXPECT_EQ(parse_lora_targets("q_proj,v"), parse_lora_targets("q,v_proj"));
  EXPECT_ERROR(parse_lora_targets("q,gat"), ErrorCode::kUsage, "unknown target 'gat'",
               "did you mean 'gate'?");
  EXPECT_ERROR(parse_lora_targets(""), ErrorCode::kUsage, "unknown target ''");
}

// Frozen weights in the compute type alone give the bits of resident ones.
TEST(Frozen, WeightsWithoutMastersComputeTheSameBits) {
  for (const test::FamilyModel& family : test::family_models()) {
    TinyModel<bf16> m(family.config);
    FrozenWeights<bf16> frozen(family.config);
    for (const ParamSpec& spec : m.weights.list()) frozen.set(spec, m.weights.values(spec));
    Transformer<bf16> model(family.config, frozen);
    const TinyBatch data(2, 9, family.config.vocab_size);
    EXPECT_EQ(losses(m.model, data.view()), losses(model, data.view())) << family.name;
  }
}

// What is trained has, bit for bit, the gradients that it has when everything is.
template <class W>
void expect_part_of_full(const ModelConfig& config, const std::function<bool(const ParamSpec&)>& trained,
                         const TrainOptions& options = {}) {
  TinyModel<W> m(config);
  const TinyBatch data(2, 9, config.vocab_size);
  Gradients<Stream<W>> full(config, m.weights.list());
  const std::vector<ParamSpec> part_list = choose(m.weights.list(), trained);
  Gradients<Stream<W>> part(config, part_list);
  std::fill_n(part.values(), part.count(), Stream<W>(7));  // an earlier sum, which begin() forgets
  part.begin();
  EXPECT_EQ(m.model.forward_backward(data.view(), full, 0.5, options),
            m.model.forward_backward(data.view(), part, 0.5, options));
  size_t compared = 0;
  for (const ParamSpec& spec : m.weights.list()) {
    if (!trained(spec)) continue;
    const ParamSpec& own = part_list[compared++];
    ASSERT_EQ(own.name, spec.name);
    for (size_t i = 0; i < spec.size(); ++i)
      ASSERT_EQ(part.values()[own.offset + i], full.values()[spec.offset + i]) << spec.name << " " << i;
  }
  EXPECT_EQ(compared, part_list.size());
}

TEST(Frozen, TheRestHasTheGradientsOfFullTraining) {
  for (const NormType type : all_norms()) {
    SCOPED_TRACE(norm_name(type));
    ModelConfig config = tiny_config(type);
    config.attention_bias = true;
    for (const bool recompute : {false, true}) {
      const TrainOptions options{.recompute = recompute};
      for (size_t first = 0; first <= 4; ++first) {
        const auto upper = [&](const ParamSpec& p) {
          return p.layer >= int(first) || p.role == ParamRole::kFinalNorm;
        };
        expect_part_of_full<float>(config, upper, options);
      }
      expect_part_of_full<float>(
          config, [](const ParamSpec& p) { return p.layer == 1; }, options);
      expect_part_of_full<float>(
          config, [](const ParamSpec& p) { return p.role == ParamRole::kEmbedding; }, options);
      expect_part_of_full<bf16>(
          config, [](const ParamSpec& p) { return p.layer >= 0 && p.is_matrix(); }, options);
    }
  }
}

// Only q of q|k|v, which are one product when all are trained: another product's shape, hence rounding.
TEST(Frozen, APartOfAGroupHasItsOwnGradient) {
  const ModelConfig config = tiny_config(NormType::kLns);
  TinyModel<double> m(config);
  const TinyBatch data(2, 9, config.vocab_size);
  Gradients<double> full(config, m.weights.list());
  m.model.forward_backward(data.view(), full, 1.0);
  for (const ParamRole role :
       {ParamRole::kQ, ParamRole::kK, ParamRole::kV, ParamRole::kGate, ParamRole::kUp}) {
    const auto list = choose(m.weights.list(), [&](const ParamSpec& p) { return p.role == role; });
    Gradients<double> part(config, list);
    m.model.forward_backward(data.view(), part, 1.0);
    for (const ParamSpec& spec : m.weights.list()) {
      if (spec.role != role) continue;
      const size_t at = list[size_t(spec.layer)].offset;
      for (size_t i = 0; i < spec.size(); ++i)
        ASSERT_NEAR(part.values()[at + i], full.values()[spec.offset + i], 1e-12) << spec.name;
    }
  }
}

TEST(Frozen, LayersBelowTheTrainedKeepNoActivations) {
  ModelConfig config = tiny_config(NormType::kPre, 12);
  const auto list = parameter_list(config);
  const auto upper = choose(list, [](const ParamSpec& p) { return p.layer >= 9; });
  const MemoryPlan full = plan_memory<bf16>(config, 2, 32),
                   part = plan_memory<bf16>(config, 2, 32, {.trained = &upper});
  EXPECT_EQ(part.parameters, full.parameters);
  EXPECT_EQ(part.gradients, parameter_count(upper) * sizeof(float));
  EXPECT_EQ(part.optimizer, 2 * part.gradients);
  EXPECT_LT(part.activations, full.activations / 2);
}

TEST(Frozen, AdaptersPlanTheirBaseInTheComputeTypeAlone) {
  const ModelConfig config = adapted(tiny_config(NormType::kPre, 12), "all", 2);
  const size_t base = parameter_count(parameter_list(config)), own = parameter_count(adapter_list(config));
  const MemoryPlan plan = plan_memory<bf16>(config, 2, 32);
  EXPECT_LT(plan.parameters, base * sizeof(bf16) + base / 10 + own * (sizeof(float) + sizeof(bf16)));
  EXPECT_EQ(plan.gradients, own * sizeof(float));
}

}  // namespace
}  // namespace fathom
