#include "model/transformer.h"

#include <malloc.h>

#include <cmath>

#include <gtest/gtest.h>

#include "core/threads.h"
#include "kernels/cross_entropy.h"
#include "model/memory_plan.h"
#include "support/expect_error.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::tiny_config;
using test::TinyBatch;
using test::TinyModel;

template <class W>
std::vector<double> losses(TinyModel<W>& m, const Batch& batch) {
  std::vector<double> nll(batch.rows());
  m.model.forward(nll.data(), batch);
  return nll;
}

double sum(const std::vector<double>& v) {
  double s = 0;
  for (const double x : v) s += x;
  return s;
}

class TransformerOf : public testing::TestWithParam<NormType> {};

TEST_P(TransformerOf, DecodingWithACacheEqualsOnePass) {
  ModelConfig config = tiny_config(GetParam());
  config.attention_bias = true;
  TinyModel<double> m(config);
  const size_t T = 11, C = config.hidden_size;
  const TinyBatch data(2, T, config.vocab_size);
  std::vector<double> whole(2 * T * C);
  m.model.embed(whole.data(), data.view());
  m.model.run(whole.data(), whole_program<double>(4), data.view());
  // A prompt of 6, then pieces of 1, 3 and 1.
  KvCache<double> cache(config, 2, T);
  size_t begin = 0;
  for (const size_t n : {6u, 1u, 3u, 1u}) {
    std::vector<int32_t> tokens;
    for (size_t b = 0; b < 2; ++b) {
      for (size_t t = begin; t < begin + n; ++t) tokens.push_back(data.tokens[b * T + t]);
    }
    const Batch piece{2, n, tokens.data(), nullptr, nullptr};
    std::vector<double> x(2 * n * C);
    m.model.embed(x.data(), piece);
    m.model.run(x.data(), whole_program<double>(4), piece, {}, &cache);
    for (size_t b = 0; b < 2; ++b) {
      for (size_t i = 0; i < n * C; ++i) ASSERT_NEAR(x[b * n * C + i], whole[(b * T + begin) * C + i], 1e-11);
    }
    begin += n;
  }
  EXPECT_EQ(cache.length, T);
}

TEST_P(TransformerOf, PrunedCheckpointEqualsAProgramWithoutItsLayers) {
  const ModelConfig config = tiny_config(GetParam(), 6);
  TinyModel<double> whole(config);
  const TinyBatch data(2, 7, config.vocab_size);
  const Batch batch = data.view();
  std::vector<double> x(batch.rows() * config.hidden_size), expected(batch.rows());
  const size_t removed[] = {1, 4};
  whole.model.embed(x.data(), batch);
  whole.model.run(x.data(), program_without<double>(6, removed), batch);
  whole.model.losses(expected.data(), x.data(), batch.targets, batch.rows());

  ModelConfig small = config;
  small.num_hidden_layers = 4;
  small.norm = resolved(config.norm, 6);
  small.norm.layer_index = {1, 3, 4, 6};
  TinyModel<double> pruned(small);
  const int from[] = {0, 2, 3, 5};
  for (const ParamSpec& to : pruned.weights.list()) {
    for (const ParamSpec& spec : whole.weights.list()) {
      const bool same = to.layer < 0 ? spec.layer < 0 : spec.layer == from[to.layer];
      if (spec.role != to.role || !same) continue;
      ASSERT_EQ(spec.shape, to.shape);
      std::copy(whole.weights.values(spec), whole.weights.values(spec) + spec.size(),
                pruned.weights.values(to));
    }
  }
  const std::vector<double> actual = losses(pruned, batch);
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_EQ(actual[i], expected[i]);
}

TEST_P(TransformerOf, PerplexityDoesNotDependOnBatchPaddingOrThreads) {
  const ModelConfig config = tiny_config(GetParam());
  TinyModel<float> m(config);
  const size_t B = 4, T = 9;
  const TinyBatch data(B, T, config.vocab_size);
  const double reference = sum(losses(m, data.view()));
  // One sequence at a time, each padded to another length: padding has no target and comes after the text.
  double padded = 0;
  for (size_t b = 0; b < B; ++b) {
    const size_t length = T + 3 * b;
    std::vector<int32_t> tokens(length, 0), targets(length, kIgnoredTarget);
    std::copy_n(data.tokens.begin() + static_cast<std::ptrdiff_t>(b * T), T, tokens.begin());
    std::copy_n(data.targets.begin() + static_cast<std::ptrdiff_t>(b * T), T, targets.begin());
    padded += sum(losses(m, {1, length, tokens.data(), targets.data(), nullptr}));
  }
  EXPECT_NEAR(std::exp(padded / 36), std::exp(reference / 36), 1e-6 * std::exp(reference / 36));
  for (const size_t threads : {1u, 3u}) {
    set_num_threads(threads);
    EXPECT_EQ(sum(losses(m, data.view())), reference) << threads << " threads";
  }
  set_num_threads(0);
}

INSTANTIATE_TEST_SUITE_P(Norms, TransformerOf, testing::ValuesIn(test::all_norms()),
                         [](const auto& info) { return std::string(norm_name(info.param)); });

TEST(Transformer, GradientsHaveTheSameBitsOnAnyNumberOfThreads) {
  const ModelConfig config = tiny_config(NormType::kLns);
  TinyModel<bf16> m(config);
  const TinyBatch data(3, 9, config.vocab_size);
  std::vector<float> first;
  for (const size_t threads : {1u, 2u, 5u}) {
    set_num_threads(threads);
    Gradients<float> gradients(config, m.weights.list());
    m.model.forward_backward(data.view(), gradients, 1.0);
    const std::vector<float> values(gradients.values(), gradients.values() + gradients.count());
    if (first.empty()) first = values;
    EXPECT_EQ(values, first) << threads << " threads";
  }
  set_num_threads(0);
}

// A layer of width 1 (itself alone) cannot look back; a window of T or more is no window.
TEST(Transformer, SlidingWindowHidesOlderKeys) {
  ModelConfig config = tiny_config(NormType::kPre, 1);
  const size_t T = 8, C = config.hidden_size;
  const auto last_stream = [&](size_t window, const std::vector<int32_t>& tokens) {
    config.sliding_window = window;
    TinyModel<double> m(config);
    std::vector<double> x(tokens.size() * C);
    const Batch batch{1, tokens.size(), tokens.data(), nullptr, nullptr};
    m.model.embed(x.data(), batch);
    m.model.run(x.data(), whole_program<double>(1), batch);
    return std::vector<double>(x.end() - static_cast<std::ptrdiff_t>(C), x.end());
  };
  std::vector<int32_t> tokens{1, 2, 3, 4, 5, 6, 7, 8}, other = tokens;
  other[T - 4] = 30;
  EXPECT_NE(last_stream(0, tokens), last_stream(0, other));
  EXPECT_NE(last_stream(4, tokens), last_stream(4, other));  // the query sees itself and three before
  EXPECT_EQ(last_stream(3, tokens), last_stream(3, other));
  EXPECT_EQ(last_stream(T, tokens), last_stream(0, tokens));
}

TEST(Transformer, DecodingUnderASlidingWindowEqualsOnePass) {
  ModelConfig config = tiny_config(NormType::kLns);
  config.sliding_window = 4;
  TinyModel<double> m(config);
  const size_t T = 10, C = config.hidden_size;
  const TinyBatch data(1, T, config.vocab_size);
  std::vector<double> whole(T * C), x(C);
  m.model.embed(whole.data(), data.view());
  m.model.run(whole.data(), whole_program<double>(4), data.view());
  KvCache<double> cache(config, 1, T);
  for (size_t t = 0; t < T; ++t) {
    const Batch one{1, 1, data.tokens.data() + t, nullptr, nullptr};
    m.model.embed(x.data(), one);
    m.model.run(x.data(), whole_program<double>(4), one, {}, &cache);
    for (size_t c = 0; c < C; ++c) ASSERT_NEAR(x[c], whole[t * C + c], 1e-11) << t;
  }
}

// Documents that mask each other out are computed as if each stood alone at its place (RoPE is relative).
TEST(Transformer, MaskedDocumentsDoNotSeeEachOther) {
  const ModelConfig config = tiny_config(NormType::kPre);
  TinyModel<double> m(config);
  TinyBatch data(1, 9, config.vocab_size);
  data.first_key = {0, 0, 0, 0, 4, 4, 4, 4, 4};
  const std::vector<double> together = losses(m, data.view());
  const std::vector<double> first = losses(m, {1, 4, data.tokens.data(), data.targets.data(), nullptr});
  const std::vector<double> second =
      losses(m, {1, 5, data.tokens.data() + 4, data.targets.data() + 4, nullptr});
  for (size_t t = 0; t < 9; ++t) EXPECT_NEAR(together[t], t < 4 ? first[t] : second[t - 4], 1e-11) << t;
}

TEST(Transformer, ALinearMapStandsInForALayer) {
  const ModelConfig config = tiny_config(NormType::kPre);
  TinyModel<double> m(config);
  const size_t C = config.hidden_size;
  const TinyBatch data(1, 5, config.vocab_size);
  LinearMap<double> map{std::vector<double>(C * C), std::vector<double>(C)};
  for (size_t i = 0; i < C; ++i) map.A[i * C + (i + 1) % C] = 2, map.b[i] = static_cast<double>(i);
  const ProgramStep<double> step{2, &map};
  std::vector<double> x(5 * C), before;
  m.model.embed(x.data(), data.view());
  before = x;
  size_t taps = 0;
  m.model.run(x.data(), {&step, 1}, data.view(), [&](const Tap<double>& tap) {
    ++taps;
    EXPECT_EQ(tap.point, TapPoint::kMlp);
    EXPECT_EQ(tap.layer, 2u);
  });
  EXPECT_EQ(taps, 1u);
  for (size_t r = 0; r < 5; ++r) {
    for (size_t c = 0; c < C; ++c)
      EXPECT_NEAR(x[r * C + c], 2 * before[r * C + (c + C - 1) % C] + static_cast<double>(c), 1e-12);
  }
}

TEST(Transformer, TapsSeeTheRawStream) {
  const ModelConfig config = tiny_config(NormType::kPeri);
  TinyModel<double> m(config);
  const TinyBatch data(2, 5, config.vocab_size);
  const Batch batch = data.view();
  const size_t n = batch.rows() * config.hidden_size;
  std::vector<std::vector<double>> streams;
  std::vector<double> nll(batch.rows()), from_last(batch.rows());
  const Observer<double> observer = [&](const Tap<double>& tap) {
    if (tap.before != nullptr && !streams.empty()) {
      EXPECT_EQ(std::vector<double>(tap.before, tap.before + n), streams.back());
    }
    streams.emplace_back(tap.after, tap.after + n);
  };
  m.model.forward(nll.data(), batch, observer);
  EXPECT_EQ(streams.size(), 9u);
  // The last tap is before the final norm: losses() applies that.
  m.model.losses(from_last.data(), streams.back().data(), batch.targets, batch.rows());
  EXPECT_EQ(nll, from_last);
  const auto in_forward = streams;
  streams.clear();
  Gradients<double> gradients(config, m.weights.list());
  m.model.forward_backward(batch, gradients, 1.0, {}, observer);
  EXPECT_EQ(streams, in_forward);
}

TEST(Transformer, RejectsTokensAndLengthsThatDoNotFit) {
  const ModelConfig config = tiny_config(NormType::kPre);
  TinyModel<float> m(config);
  std::vector<int32_t> tokens(100, 1);
  std::vector<double> nll(100);
  tokens[3] = 37;
  EXPECT_ERROR(m.model.forward(nll.data(), {1, 5, tokens.data(), tokens.data(), nullptr}), ErrorCode::kFailed,
               "37");
  tokens[3] = -1;
  EXPECT_ERROR(m.model.forward(nll.data(), {1, 5, tokens.data(), tokens.data(), nullptr}), ErrorCode::kFailed,
               "-1");
  EXPECT_ERROR(m.model.forward(nll.data(), {1, 65, tokens.data(), tokens.data(), nullptr}),
               ErrorCode::kFailed, "65", "64");
}

#if !defined(__SANITIZE_ADDRESS__)
size_t allocated() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

ModelConfig wider(NormType type) {
  ModelConfig config = tiny_config(type);
  config.hidden_size = 64;  // every buffer below 2 MiB: larger ones do not come from the heap
  config.intermediate_size = 128;
  return config;
}

TEST(MemoryPlan, IsWhatAStepAllocates) {
  set_num_threads(1);  // of several, one may come into no region of the warm-up and make its scratch later
  {                    // The kernels' own scratch stays with their threads: let it be made first.
    TinyModel<bf16> warm_up(wider(NormType::kPre));
    Gradients<float> gradients(warm_up.weights.config(), warm_up.weights.list());
    warm_up.model.forward_backward(TinyBatch(2, 64, 37).view(), gradients, 1.0);
  }
  for (const NormType type : {NormType::kPre, NormType::kPeri}) {
    for (const bool recompute : {false, true}) {
      const ModelConfig config = wider(type);
      const TrainOptions options{.recompute = recompute};
      const MemoryPlan plan = plan_memory<bf16>(config, 2, 64, {.recompute = recompute});
      const size_t start = allocated();
      ResidentWeights<bf16> weights(config);
      const size_t with_weights = allocated();
      EXPECT_NEAR(static_cast<double>(with_weights - start), static_cast<double>(plan.parameters), 64e3);
      initialize(weights.values(), weights.list(), 1);
      weights.refresh();
      Gradients<float> gradients(config, weights.list());
      const size_t with_gradients = allocated();
      EXPECT_NEAR(static_cast<double>(with_gradients - with_weights), static_cast<double>(plan.gradients),
                  64e3);
      Transformer<bf16> model(config, weights);
      const TinyBatch data(2, 64, config.vocab_size);
      model.forward_backward(data.view(), gradients, 1.0, options);
      // What stays after the step: the workspace, and small things (RoPE's table).
      EXPECT_NEAR(static_cast<double>(allocated() - with_gradients), static_cast<double>(plan.activations),
                  0.05 * static_cast<double>(plan.activations) + 64e3);
      EXPECT_EQ(plan.activations, Transformer<bf16>::training_bytes(config, 128, options));
      EXPECT_EQ(plan.optimizer, 2 * plan.gradients);
      EXPECT_EQ(plan_memory<bf16>(config, 2, 64, {.bf16_state = true}).optimizer, plan.gradients);
      // An evaluation's workspace stays beside it.
      EXPECT_EQ(plan.evaluation, 0u);
      const size_t with_training = allocated();
      std::vector<double> nll(128);
      model.forward(nll.data(), data.view());
      const size_t forward = plan_memory<bf16>(config, 2, 64, {.evaluates = true}).evaluation;
      EXPECT_NEAR(static_cast<double>(allocated() - with_training), static_cast<double>(forward),
                  0.05 * static_cast<double>(forward) + 64e3 + 128.0 * config.hidden_size * sizeof(float));
    }
  }
  set_num_threads(0);
}
#endif

// With q, k, v of unlike sizes, heads that do not fill tiles, an untied and a tied head; before and after a
// change of the weights.
TEST(PackedWeights, GiveTheSameBits) {
  if (!reads_packed_matrices(DType::kBf16))
    GTEST_SKIP() << "products read no packed matrices here: no amx, or another FATHOM_GEMM";
  for (const bool tied : {false, true}) {
    ModelConfig config = tiny_config(NormType::kLns);
    config.tie_word_embeddings = tied;
    TinyModel<bf16> plain(config), packed(config);
    packed.weights.keep_packed(Packing::kTraining);
    EXPECT_NE(packed.weights.layer(1).packed.gate_up.dgrad, nullptr);
    EXPECT_NE(packed.weights.packed_head().forward, nullptr);
    for (int round = 0; round < 2; ++round) {
      const TinyBatch data(2, 9, config.vocab_size, 5 + static_cast<uint64_t>(round));
      Gradients<float> expected(config, plain.weights.list()), got(config, plain.weights.list());
      EXPECT_EQ(plain.model.forward_backward(data.view(), expected, 0.5),
                packed.model.forward_backward(data.view(), got, 0.5));
      for (size_t i = 0; i < got.count(); ++i) ASSERT_EQ(got.values()[i], expected.values()[i]) << i;
      std::vector<double> nll(18), nll_packed(18);
      plain.model.forward(nll.data(), data.view());
      packed.model.forward(nll_packed.data(), data.view());
      EXPECT_EQ(nll, nll_packed);
      for (TinyModel<bf16>* m : {&plain, &packed}) {
        for (size_t i = 0; i < m->weights.count(); ++i) m->weights.values()[i] *= 1.25f;
        m->weights.refresh();
      }
      packed.weights.pack();
    }
  }
}

TEST(MemoryPlan, RecomputeTakesFarLess) {
  const ModelConfig config = tiny_config(NormType::kPre, 24);
  EXPECT_LT(plan_memory<bf16>(config, 8, 64, {.recompute = true}).activations,
            plan_memory<bf16>(config, 8, 64, {}).activations / 4);
}

}  // namespace
}  // namespace fathom
