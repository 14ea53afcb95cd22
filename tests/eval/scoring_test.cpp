#include "eval/scoring.h"

#include <cmath>

#include <gtest/gtest.h>

#include "core/threads.h"
#include "io/checkpoint.h"
#include "io/streamed_weights.h"
#include "kernels/cross_entropy.h"
#include "support/expect_error.h"
#include "support/family_models.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::TinyModel;

std::vector<int32_t> draw(Rng& rng, size_t n, size_t vocab_size) {
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(vocab_size));
  return ids;
}

/// Items of up to five choices over contexts of many lengths; some share a beginning with the item before.
std::vector<std::vector<ScoreRequest>> draw_groups(size_t count, size_t vocab_size, uint64_t seed = 5) {
  Rng rng(seed);
  std::vector<std::vector<ScoreRequest>> groups;
  std::vector<int32_t> context = draw(rng, 20, vocab_size);
  for (size_t g = 0; g < count; ++g) {
    if (g % 3 != 1) context = draw(rng, 1 + rng.below(40), vocab_size);
    context.push_back(static_cast<int32_t>(rng.below(vocab_size)));
    std::vector<ScoreRequest> group;
    for (size_t choice = 0; choice < 2 + g % 4; ++choice) {
      std::vector<int32_t> ids = context;
      const std::vector<int32_t> own = draw(rng, 1 + rng.below(9), vocab_size);
      ids.insert(ids.end(), own.begin(), own.end());
      group.push_back({ids, own.size()});
    }
    groups.push_back(group);
  }
  return groups;
}

template <class W>
std::vector<double> score_all(Transformer<W>& model, const std::vector<std::vector<ScoreRequest>>& groups,
                              size_t batch_tokens) {
  std::vector<double> all;
  const auto program = whole_program<Stream<W>>(model.config().num_hidden_layers);
  score_groups<W>(model, program, groups, 0, batch_tokens,
                  [&](size_t, std::span<const std::vector<double>> nll) {
                    for (const auto& tokens : nll) all.insert(all.end(), tokens.begin(), tokens.end());
                  },
                  {});
  return all;
}

/// A request a pass: nothing packed, nothing shared.
template <class W>
std::vector<double> score_alone(Transformer<W>& model, const std::vector<std::vector<ScoreRequest>>& groups) {
  std::vector<double> all;
  const auto program = whole_program<Stream<W>>(model.config().num_hidden_layers);
  for (const auto& group : groups) {
    for (const ScoreRequest& request : group) {
      std::vector<std::vector<double>> nll;
      score_together<W>(model, program, std::span(&request, 1), nll);
      all.insert(all.end(), nll[0].begin(), nll[0].end());
    }
  }
  return all;
}

/// Each request by itself, through the forward that training and probing use.
template <class W>
std::vector<double> score_plainly(Transformer<W>& model,
                                  const std::vector<std::vector<ScoreRequest>>& groups) {
  std::vector<double> all;
  for (const auto& group : groups) {
    for (const ScoreRequest& request : group) {
      const size_t T = request.ids.size() - 1;
      std::vector<double> nll(T);
      model.forward(nll.data(),
                    {.B = 1, .T = T, .tokens = request.ids.data(), .targets = request.ids.data() + 1});
      all.insert(all.end(), nll.end() - static_cast<std::ptrdiff_t>(request.scored), nll.end());
    }
  }
  return all;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    if (!(d <= most)) most = d;
  }
  return most;
}

std::vector<test::FamilyModel> models() {
  std::vector<test::FamilyModel> all =
      test::family_models();  // windows, caps, biases, norms of queries and keys
  for (const NormType type : test::all_norms())
    all.push_back({std::string(norm_name(type)), test::tiny_config(type)});
  ModelConfig window = test::tiny_config(NormType::kPre);
  window.sliding_window = 5;
  all.push_back({"window", window});
  return all;
}

TEST(Scoring, EqualsThePlainForwardInDoubleForEveryFamily) {
  for (const auto& [name, config] : models()) {
    TinyModel<double> m(config);
    const auto groups = draw_groups(6, config.vocab_size);
    EXPECT_LE(largest_difference(score_all(m.model, groups, 64), score_plainly(m.model, groups)), 1e-12)
        << name;
  }
}

TEST(Scoring, EqualsThePlainForwardInFp32AndBf16) {
  for (const auto& [name, config] : models()) {
    const auto groups = draw_groups(6, config.vocab_size);
    TinyModel<float> m(config);
    EXPECT_LE(largest_difference(score_all(m.model, groups, 64), score_plainly(m.model, groups)), 2e-5)
        << name;
    TinyModel<bf16> h(config);
    EXPECT_LE(largest_difference(score_all(h.model, groups, 64), score_plainly(h.model, groups)), 0.15)
        << name;
  }
}

// Trap 4 and 16: no number depends on what it is computed with.
template <class W>
void expect_same_bits(const ModelConfig& config) {
  const auto groups = draw_groups(24, config.vocab_size);
  TinyModel<W> m(config);
  const std::vector<double> expected = score_alone(m.model, groups);
  for (const size_t batch_tokens : {1, 7, 64, 333, 100000})
    EXPECT_EQ(score_all(m.model, groups, batch_tokens), expected);
  const size_t threads = num_threads();
  for (const size_t n : {1, 3, 8}) {
    set_num_threads(n);
    EXPECT_EQ(score_all(m.model, groups, 200), expected);
  }
  set_num_threads(threads);
}

TEST(Scoring, HasTheSameBitsForEveryPackingAndThreadCount) {
  ModelConfig window = test::tiny_config(NormType::kLns);
  window.sliding_window = 6;
  for (const ModelConfig& config : {test::tiny_config(NormType::kLns), window, test::tiny_gemma2()}) {
    expect_same_bits<float>(config);
    expect_same_bits<bf16>(config);
  }
}

TEST(Scoring, HasTheSameBitsWhereContextsAreLongerThanABlockOfKeys) {
  ModelConfig config = test::tiny_config(NormType::kPre);
  config.max_position_embeddings = 300;
  Rng rng(3);
  const std::vector<int32_t> shots = draw(rng, 150, config.vocab_size);
  auto groups = draw_groups(5, config.vocab_size);
  for (auto& group : groups) {
    for (ScoreRequest& request : group) request.ids.insert(request.ids.begin(), shots.begin(), shots.end());
  }
  TinyModel<float> m(config);
  const std::vector<double> expected = score_alone(m.model, groups);
  for (const size_t batch_tokens : {1, 300, 5000})
    EXPECT_EQ(score_all(m.model, groups, batch_tokens), expected);
  EXPECT_LE(largest_difference(score_plainly(m.model, groups), expected), 5e-5);
}

TEST(Scoring, ComputesASharedBeginningOnce) {
  TinyModel<float> m(test::tiny_config(NormType::kPre));
  // Two choices over a context of 10: the last id of each is no input.
  const std::vector<ScoreRequest> requests = {{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 2},
                                              {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15}, 3}};
  std::vector<std::vector<double>> nll;
  const ScoringWork work = score_together<float>(m.model, whole_program<float>(4), requests, nll);
  EXPECT_EQ(work.rows, 10u + 1 + 2);
  EXPECT_EQ(work.scored, 5u);
  EXPECT_EQ(tree_rows(requests), 13u);
}

TEST(Scoring, RunsAnyProgram) {
  TinyModel<double> m(test::tiny_config(NormType::kLns));
  const std::vector<ScoreRequest> requests = {{{1, 2, 3, 4}, 2}, {{1, 2, 5, 6, 7}, 3}};
  const std::vector<size_t> removed{1};
  const Program<double> program = program_without<double>(4, removed);
  std::vector<std::vector<double>> nll;
  score_together<double>(m.model, program, requests, nll);
  for (size_t i = 0; i < requests.size(); ++i) {
    const size_t T = requests[i].ids.size() - 1;
    const Batch batch{
        .B = 1, .T = T, .tokens = requests[i].ids.data(), .targets = requests[i].ids.data() + 1};
    Buffer<double> x(T * m.model.config().hidden_size);
    std::vector<double> plain(T);
    m.model.embed(x.data(), batch);
    m.model.run(x.data(), program, batch);
    m.model.losses(plain.data(), x.data(), batch.targets, T);
    for (size_t s = 0; s < requests[i].scored; ++s)
      EXPECT_NEAR(nll[i][s], plain[T - requests[i].scored + s], 1e-12);
  }
}

/// Without layer 2, without the attention of layer 3, without the last layer, and the whole again.
template <class S>
std::vector<ProgramVariant<S>> some_variants() {
  return {{1, {{2}, {3}}}, {2, {{2, nullptr, LayerPart::kWithoutAttention}, {3}}}, {3, {}}, {4, {}}};
}

// What is shared changes no bit: each variant's likelihoods are those of its program by itself, in any packs.
template <class W>
void expect_variants_alone(const ModelConfig& config) {
  using S = Stream<W>;
  TinyModel<W> m(config);
  const auto groups = draw_groups(9, config.vocab_size);
  const Program<S> whole = whole_program<S>(4);
  const auto variants = some_variants<S>();
  std::vector<std::vector<std::vector<double>>> together;
  const ScoringWork work = score_groups<W>(
      m.model, whole, groups, 0, 100,
      [&](size_t, std::span<const std::vector<double>> nll) {
        together.emplace_back(nll.begin(), nll.end());
      },
      {}, variants);
  std::vector<Program<S>> programs{whole};
  for (const auto& v : variants) {
    programs.emplace_back(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(v.begin));
    programs.back().insert(programs.back().end(), v.rest.begin(), v.rest.end());
  }
  uint64_t scored = 0;
  for (size_t v = 0; v < programs.size(); ++v) {
    for (size_t g = 0; g < groups.size(); ++g) {
      std::vector<std::vector<double>> alone;
      scored += score_together<W>(m.model, programs[v], groups[g], alone).scored;
      ASSERT_EQ(together[g].size(), programs.size() * groups[g].size());
      for (size_t i = 0; i < groups[g].size(); ++i)
        EXPECT_EQ(together[g][v * groups[g].size() + i], alone[i]) << "variant " << v << ", group " << g;
    }
  }
  EXPECT_EQ(work.scored, scored);
  EXPECT_NE(together[0][0], together[0][groups[0].size()]);
}

TEST(Scoring, RunsVariantsAbreastWithTheBitsOfEachAlone) {
  expect_variants_alone<float>(test::tiny_config(NormType::kLns));
  expect_variants_alone<bf16>(test::tiny_config(NormType::kPost));
  ModelConfig window = test::tiny_config(NormType::kPre);
  window.sliding_window = 5;
  expect_variants_alone<float>(window);
}

TEST(Scoring, ReadsALayerOnceForAllVariants) {
  TinyModel<float> m(test::tiny_config(NormType::kPre));
  const test::TempFolder folder;
  save_model(folder.path(), m.model.config(), m.weights.list(), m.weights.values(), DType::kF32);
  StreamedWeights<float> streamed(folder.path(), m.model.config(), 0);
  ASSERT_EQ(streamed.layers_kept(), 0u);
  Transformer<float> model(m.model.config(), streamed);
  const auto groups = draw_groups(3, m.model.config().vocab_size);
  std::vector<std::vector<double>> nll, expected;
  score_together<float>(model, whole_program<float>(4), groups[0], nll, some_variants<float>());
  EXPECT_EQ(streamed.layers_read(), 4u);
  score_together<float>(m.model, whole_program<float>(4), groups[0], expected, some_variants<float>());
  EXPECT_EQ(nll, expected);
}

TEST(Scoring, RefusesVariantsWhoseLayersAreNotTheirPrograms) {
  TinyModel<float> m(test::tiny_config(NormType::kPre));
  const std::vector<ScoreRequest> requests = {{{1, 2, 3, 4}, 2}};
  const std::vector<ProgramVariant<float>> swapped{{0, {{1}, {0}, {2}, {3}}}};
  std::vector<std::vector<double>> nll;
  EXPECT_ERROR(score_together<float>(m.model, whole_program<float>(4), requests, nll, swapped),
               ErrorCode::kFailed, "internal");
}

// A pack takes what it has room for; a long beginning in common stretches it.
TEST(Scoring, CutsGroupsIntoPacks) {
  const auto group = [](int32_t first) {
    return std::vector<ScoreRequest>{{{first, 2, 3, 4, 5}, 1}, {{first, 2, 3, 6, 7}, 1}};  // 3 + 1 + 1 rows
  };
  const std::vector<std::vector<ScoreRequest>> groups{group(1), group(8), group(9), group(10)};
  const GroupRange two = next_pack(groups, 1, 10);
  EXPECT_EQ(two.begin, 1u);
  EXPECT_EQ(two.end, 3u);
  EXPECT_EQ(two.rows, 10u);
  EXPECT_EQ(next_pack(groups, 3, 10).rows, 5u);
  EXPECT_EQ(next_pack(groups, 0, 1).rows, 5u) << "a group stays together";
  const std::vector<std::vector<ScoreRequest>> alike{group(1), group(1)};
  EXPECT_EQ(next_pack(alike, 0, 1).end, 2u) << "3 rows in common allow 12";
}

TEST(Scoring, RefusesWhatDoesNotFitTheModel) {
  TinyModel<float> m(test::tiny_config(NormType::kPre));
  std::vector<std::vector<double>> nll;
  const std::vector<ScoreRequest> longer = {{std::vector<int32_t>(66, 1), 1}}, foreign = {{{1, 99, 2}, 1}};
  EXPECT_ERROR(score_together<float>(m.model, whole_program<float>(4), longer, nll), ErrorCode::kFailed,
               "context of 64");
  EXPECT_ERROR(score_together<float>(m.model, whole_program<float>(4), foreign, nll), ErrorCode::kFailed,
               "token id 99");
}

}  // namespace
}  // namespace fathom
