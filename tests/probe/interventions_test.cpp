// Lens, removal, permutation and identity deviation on models whose answers are known. Agreement with an
// independent program is golden_test's.

#include "probe/interventions.h"

#include <cmath>

#include <gtest/gtest.h>

#include "kernels/cross_entropy.h"
#include "probe/identity_deviation.h"
#include "probe/lens.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::tiny_config;
using test::TinyBatch;
using test::TinyModel;

// A layer whose o and down are zero passes its input on under every pre-type scheme.
template <class W>
void silence(TinyModel<W>& m, int layer) {
  for (const ParamSpec& p : m.weights.list()) {
    if (p.layer != layer || (p.role != ParamRole::kO && p.role != ParamRole::kDown)) continue;
    std::fill_n(m.weights.values(p), p.size(), Stream<W>(0));
  }
  m.weights.refresh();
}

// A whole pass, recorded.
template <class W>
struct Recorded {
  Recorded(TinyModel<W>& m, const Batch& batch) : record(m.model.plans().size()), nll(batch.rows()) {
    m.model.forward(nll.data(), batch,
                    observer_of<Stream<W>>({&record}, batch, m.model.config().hidden_size));
  }
  StreamRecorder<Stream<W>> record;
  std::vector<double> nll;
};

TEST(LogitLens, AfterTheLastLayerIsTheModelItself) {
  const ModelConfig config = tiny_config(NormType::kLns);
  TinyModel<float> m(config);
  const TinyBatch data(3, 30, config.vocab_size);  // more rows than one chunk of logits
  const Batch batch = data.view();
  Recorded<float> pass(m, batch);
  LogitLens<float> lens(4);
  lens.add(m.model, pass.record, batch);
  double sum = 0;
  for (const double v : pass.nll) sum += v;
  EXPECT_NEAR(lens.loss[4].mean(), sum / 90, 1e-6);
  EXPECT_EQ(lens.kl[4].mean(), 0.0);  // bit for bit the same logits
  EXPECT_EQ(lens.top5[4].mean(), 1.0);
  EXPECT_GT(lens.kl[0].mean(), 0.0);
  EXPECT_LT(lens.top5[0].mean(), 1.0);
}

TEST(LayerRemoval, OfASilentLayerChangesNothing) {
  const ModelConfig config = tiny_config(NormType::kPre);
  TinyModel<float> m(config);
  silence(m, 2);
  const TinyBatch data(2, 6, config.vocab_size);
  const Batch batch = data.view();
  Recorded<float> pass(m, batch);
  LayerRemoval<float> removal(4);
  CausalScore<float> causal(4);
  removal.add(m.model, pass.record, pass.nll.data(), batch, &causal);
  EXPECT_EQ(removal.delta[2].mean(), 0.0);
  EXPECT_EQ(causal.score[2][3].mean(), 0.0);
  for (const size_t s : {0u, 1u, 3u}) EXPECT_NE(removal.delta[s].mean(), 0.0);
  EXPECT_GT(causal.score[0][1].mean(), 0.0);
  EXPECT_EQ(causal.score[1][0].sequences(), 0u);
}

TEST(LayerRemoval, KeepsTheWiringOfTheOthers) {
  const ModelConfig config = tiny_config(NormType::kMix);
  TinyModel<double> m(config);
  const TinyBatch data(2, 6, config.vocab_size);
  const Batch batch = data.view();
  Recorded<double> pass(m, batch);
  std::vector<double> reused(batch.rows()), whole(batch.rows());
  for (size_t s = 0; s < 4; ++s) {
    losses_without_layer<double>(m.model, reused.data(), s, pass.record, batch);
    Buffer<double> x(batch.rows() * config.hidden_size);
    m.model.embed(x.data(), batch);
    const size_t removed[] = {s};
    m.model.run(x.data(), program_without<double>(4, removed), batch);
    m.model.losses(whole.data(), x.data(), batch.targets, batch.rows());
    EXPECT_EQ(reused, whole) << "layer " << s + 1;
  }
}

TEST(LayerPermutation, OfLayersThatAreAlikeIsZero) {
  const ModelConfig config = tiny_config(NormType::kPre);
  TinyModel<float> m(config);
  // Layer 3 becomes a copy of layer 1 (0-based 2 of 0).
  for (const ParamSpec& to : m.weights.list()) {
    for (const ParamSpec& from : m.weights.list()) {
      if (to.layer == 2 && from.layer == 0 && to.role == from.role)
        std::copy_n(m.weights.values(from), from.size(), m.weights.values(to));
    }
  }
  const TinyBatch data(2, 6, config.vocab_size);
  const Batch batch = data.view();
  Recorded<float> pass(m, batch);
  LayerPermutation<float> permutation(4);
  permutation.add(m.model, pass.record, pass.nll.data(), batch);
  EXPECT_EQ(permutation.score(0, 2), 0.0);
  EXPECT_EQ(permutation.score(2, 0), 0.0);
  EXPECT_EQ(permutation.score(1, 1), 0.0);
  EXPECT_GT(permutation.score(0, 1), 0.0);
  EXPECT_EQ(permutation.score(1, 3), permutation.score(3, 1));
  EXPECT_GT(permutation.score_standard_error(0, 1), 0.0);
}

TEST(IdentityDeviation, OfASilentLayerIsExactlyZero) {
  const ModelConfig config = tiny_config(NormType::kPre);
  TinyModel<bf16> m(config);
  silence(m, 1);
  const TinyBatch data(2, 5, config.vocab_size);
  const Batch batch = data.view();
  Recorded<bf16> pass(m, batch);
  EXPECT_EQ(exact_identity_deviation(m.model, 1, pass.record.stream(1), batch.tokens, batch.T), 0.0);
  IdentityDeviation<float> deviation(4, 3, 9);
  deviation.add(m.model, pass.record, batch);
  EXPECT_EQ(deviation.value(1), 0.0);
  EXPECT_EQ(deviation.standard_error(1), 0.0);
  EXPECT_GT(deviation.value(0), 0.0);
}

// The estimate agrees with the exact value within five of its own standard errors, under every scheme.
TEST(IdentityDeviation, EstimateAgreesWithTheExactValue) {
  for (const NormType type : test::all_norms()) {
    const ModelConfig config = tiny_config(type);
    TinyModel<double> m(config);
    const TinyBatch data(1, 5, config.vocab_size);
    const Batch batch = data.view();
    Recorded<double> pass(m, batch);
    IdentityDeviation<double> deviation(4, 200, 9);
    deviation.add(m.model, pass.record, batch);
    for (size_t l = 0; l < 4; ++l) {
      const double exact = exact_identity_deviation(m.model, l, pass.record.stream(l), batch.tokens, batch.T);
      EXPECT_GT(deviation.standard_error(l), 0.0);
      EXPECT_LT(deviation.standard_error(l), 0.05 * exact);
      EXPECT_NEAR(deviation.value(l), exact, 5 * deviation.standard_error(l)) << norm_name(type) << l;
    }
  }
}

// Padding has no rows of the Jacobian and no columns: the same draws give the same estimate without it.
TEST(IdentityDeviation, IgnoresPadding) {
  const ModelConfig config = tiny_config(NormType::kPost);
  TinyModel<double> m(config);
  const TinyBatch data(1, 5, config.vocab_size);
  std::vector<int32_t> tokens = data.tokens, targets = data.targets;
  tokens.resize(8, 0);
  targets.resize(8, kIgnoredTarget);
  const Batch plain = data.view(), padded{1, 8, tokens.data(), targets.data(), nullptr};
  IdentityDeviation<double> a(4, 4, 9), b(4, 4, 9);
  Recorded<double> pass_a(m, plain), pass_b(m, padded);
  a.add(m.model, pass_a.record, plain);
  b.add(m.model, pass_b.record, padded);
  for (size_t l = 0; l < 4; ++l) EXPECT_NEAR(a.value(l), b.value(l), 1e-10);
  // And the exact one, which no probes ask for.
  IdentityDeviation<double> exact(4, 0, 9);
  exact.add(m.model, pass_b.record, padded);
  for (size_t l = 0; l < 4; ++l) {
    EXPECT_NEAR(exact.value(l),
                exact_identity_deviation(m.model, l, pass_a.record.stream(l), plain.tokens, plain.T), 1e-10);
  }
}

}  // namespace
}  // namespace fathom
