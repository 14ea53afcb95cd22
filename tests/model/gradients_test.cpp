// The gradient of every tensor against finite differences, in double, under every scheme.

#include <cmath>
#include <string>

#include <gtest/gtest.h>

#include "kernels/cross_entropy.h"
#include "support/family_models.h"
#include "support/finite_differences.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::all_norms;
using test::tiny_config;
using test::TinyBatch;
using test::TinyModel;

double loss_of(TinyModel<double>& m, const Batch& batch) {
  std::vector<double> nll(batch.rows());
  m.model.forward(nll.data(), batch);
  double sum = 0;
  for (const double v : nll) sum += v;
  return sum;
}

void expect_gradients_match(const ModelConfig& config, const TrainOptions& options, const TinyBatch& data) {
  TinyModel<double> m(config);
  const Batch batch = data.view();
  Gradients<double> gradients(config, m.weights.list());
  const double sum = m.model.forward_backward(batch, gradients, 1.0, options);
  EXPECT_NEAR(sum, loss_of(m, batch), 1e-9);
  test::expect_gradients_of_differences(
      m.weights.list(), m.weights.values(), gradients.values(), [&] { return loss_of(m, batch); }, 1e-5);
}

void expect_recompute_has_the_same_bits(const ModelConfig& config) {
  TinyModel<float> m(config);
  const TinyBatch data(2, 9, config.vocab_size);
  Gradients<float> kept(config, m.weights.list()), recomputed(config, m.weights.list());
  EXPECT_EQ(m.model.forward_backward(data.view(), kept, 0.5),
            m.model.forward_backward(data.view(), recomputed, 0.5, {.recompute = true}));
  for (size_t i = 0; i < kept.count(); ++i) ASSERT_EQ(kept.values()[i], recomputed.values()[i]) << i;
}

// After begin(), what was there before does not count, and the second pass adds to the first.
void expect_begin_forgets(const ModelConfig& config) {
  TinyModel<float> m(config);
  const TinyBatch data(2, 9, config.vocab_size);
  Gradients<float> zeroed(config, m.weights.list()), begun(config, m.weights.list());
  std::fill_n(begun.values(), begun.count(), 7.0f);
  begun.begin();
  for (int pass = 0; pass < 2; ++pass) {
    m.model.forward_backward(data.view(), zeroed, 0.5);
    m.model.forward_backward(data.view(), begun, 0.5);
    for (size_t i = 0; i < zeroed.count(); ++i) ASSERT_EQ(zeroed.values()[i], begun.values()[i]) << i;
  }
}

// v . (J u) by differences against (J^T v) . u by vjp, layer by layer.
void expect_vjp_matches(const ModelConfig& config) {
  TinyModel<double> m(config);
  const TinyBatch data(2, 5, config.vocab_size);
  const Batch batch = data.view();
  const size_t n = batch.rows() * config.hidden_size;
  Rng rng(4);
  std::vector<double> x(n), v(n), u(n);
  for (size_t i = 0; i < n; ++i) x[i] = rng.normal(), v[i] = rng.normal(), u[i] = rng.normal();
  for (size_t l = 0; l < config.num_hidden_layers; ++l) {
    const auto along = [&](double h) {
      std::vector<double> moved(n);
      for (size_t i = 0; i < n; ++i) moved[i] = x[i] + h * u[i];
      const ProgramStep<double> step{l, nullptr};
      m.model.run(moved.data(), {&step, 1}, batch);
      double dot = 0;
      for (size_t i = 0; i < n; ++i) dot += v[i] * moved[i];
      return dot;
    };
    const double numeric = (along(1e-5) - along(-1e-5)) / 2e-5;
    std::vector<double> product = v;
    m.model.linearize(l, x.data(), batch);
    m.model.vjp(product.data());
    double analytic = 0;
    for (size_t i = 0; i < n; ++i) analytic += product[i] * u[i];
    EXPECT_NEAR(analytic, numeric, 1e-6 * std::max(1.0, std::abs(numeric))) << "layer " << l;
  }
}

class GradientsOf : public testing::TestWithParam<NormType> {};

TEST_P(GradientsOf, EveryTensorMatchesFiniteDifferences) {
  expect_gradients_match(tiny_config(GetParam()), {}, TinyBatch(2, 7, 37));
}

TEST_P(GradientsOf, AlsoWithRecomputeTiedEmbeddingBiasesAndDocumentMasks) {
  ModelConfig config = tiny_config(GetParam());
  config.tie_word_embeddings = true;
  config.attention_bias = true;
  TinyBatch data(2, 7, config.vocab_size);
  data.first_key = {0, 0, 0, 3, 3, 5, 5, 0, 1, 1, 1, 1, 1, 6};  // documents of 3, 2, 2 and of 1, 5, 1 tokens
  data.targets[4] = kIgnoredTarget;
  expect_gradients_match(config, {.recompute = true}, data);
}

TEST_P(GradientsOf, RecomputeHasTheSameBits) { expect_recompute_has_the_same_bits(tiny_config(GetParam())); }

TEST_P(GradientsOf, BeginForgetsEarlierSums) {
  ModelConfig config = tiny_config(GetParam());
  config.attention_bias = true;
  expect_begin_forgets(config);
  config.tie_word_embeddings = true;
  expect_begin_forgets(config);
}

TEST_P(GradientsOf, VectorJacobianProductMatchesFiniteDifferences) {
  expect_vjp_matches(tiny_config(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Norms, GradientsOf, testing::ValuesIn(all_norms()),
                         [](const auto& info) { return std::string(norm_name(info.param)); });

class GradientsOfFamily : public testing::TestWithParam<test::FamilyModel> {};

TEST_P(GradientsOfFamily, EveryTensorMatchesFiniteDifferences) {
  expect_gradients_match(GetParam().config, {}, TinyBatch(2, 7, 37));
  expect_recompute_has_the_same_bits(GetParam().config);
  expect_begin_forgets(GetParam().config);
  expect_vjp_matches(GetParam().config);
}

INSTANTIATE_TEST_SUITE_P(Families, GradientsOfFamily, testing::ValuesIn(test::family_models()),
                         [](const auto& info) { return info.param.name; });

TEST(Gradients, AddUpOverMicrobatches) {
  const ModelConfig config = tiny_config(NormType::kLns);
  TinyModel<double> m(config);
  const TinyBatch data(2, 6, config.vocab_size);
  Gradients<double> whole(config, m.weights.list()), parts(config, m.weights.list());
  m.model.forward_backward(data.view(), whole, 0.25);
  for (size_t b = 0; b < 2; ++b) {
    const Batch one{1, 6, data.tokens.data() + b * 6, data.targets.data() + b * 6, nullptr};
    m.model.forward_backward(one, parts, 0.25);
  }
  for (size_t i = 0; i < whole.count(); ++i) ASSERT_NEAR(whole.values()[i], parts.values()[i], 1e-12);
}

}  // namespace
}  // namespace fathom
