// Checks (g) and (h) of the proof kit: evaluation asks and scores as lm-evaluation-harness does, and the
// scores of a dead model do not pass for scores.

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "cli/selftest_checks.h"
#include "core/threads.h"
#include "eval/evaluate.h"
#include "eval/few_shot.h"
#include "model/tiny_model.h"

namespace fathom::cli {
namespace {

template <class W>
std::vector<double> nll_of(Transformer<W>& model, const std::vector<std::vector<ScoreRequest>>& groups,
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

// Items whose choices share a context.
std::vector<std::vector<ScoreRequest>> items_for(size_t vocab_size) {
  Rng rng(21);
  std::vector<std::vector<ScoreRequest>> groups;
  for (size_t g = 0; g < 12; ++g) {
    std::vector<int32_t> context(3 + rng.below(30));
    for (int32_t& id : context) id = static_cast<int32_t>(rng.below(vocab_size));
    std::vector<ScoreRequest>& group = groups.emplace_back();
    for (size_t choice = 0; choice < 4; ++choice) {
      group.push_back({context, 1 + rng.below(6)});
      for (size_t i = 0; i < group.back().scored; ++i)
        group.back().ids.push_back(static_cast<int32_t>(rng.below(vocab_size)));
    }
  }
  return groups;
}

CheckResult packing_changes_no_bit() {
  TinyModel<float> m(tiny_config(NormType::kLns));
  const auto groups = items_for(m.model.config().vocab_size);
  const std::vector<double> one = nll_of(m.model, groups, 1);
  bool same = true;
  const size_t threads = num_threads();
  for (const size_t n : {size_t{1}, size_t{3}, threads}) {
    set_num_threads(n);
    for (const size_t batch_tokens : {50, 100000})
      same = same && nll_of(m.model, groups, batch_tokens) == one;
  }
  set_num_threads(threads);
  return {same, fmt::format("{} likelihoods, 6 ways", one.size())};
}

CheckResult likelihoods_match_reference() {
  TinyModel<double> reference(tiny_config(NormType::kLns));
  TinyModel<float> fast(tiny_config(NormType::kLns));
  const auto groups = items_for(fast.model.config().vocab_size);
  const std::vector<double> packed = nll_of(fast.model, groups, 100000);
  double worst = 0;
  size_t at = 0;
  for (const auto& group : groups) {
    for (const ScoreRequest& request : group) {  // by itself, from its first token on, nothing shared
      const size_t T = request.ids.size() - 1;
      std::vector<double> nll(T);
      reference.model.forward(
          nll.data(), {.B = 1, .T = T, .tokens = request.ids.data(), .targets = request.ids.data() + 1});
      for (size_t i = T - request.scored; i < T; ++i) {
        const double error = std::abs(nll[i] - packed[at++]);
        if (!(error <= worst)) worst = error;
      }
    }
  }
  return {worst <= 1e-4, fmt::format("largest difference: {:.1e} (limit 1e-04)", worst)};
}

CheckResult examples_are_those_of_python() {
  PythonRandom random(1234);
  const bool same = random.sample(2251, 5) == std::vector<size_t>{1805, 478, 30, 371, 143} &&
                    random.sample(2251, 5) == std::vector<size_t>{343, 403, 1452, 969, 71};
  return {same, "random.Random(1234).sample(range(2251), 5), twice"};
}

// A model whose embedding is zero finds all tokens alike: it "scores" 37.83 on BoolQ's 3270 questions.
CheckResult dead_model_is_recognized() {
  TinyModel<float> m(tiny_config(NormType::kPre));
  std::fill_n(m.weights.values(), m.weights.count(), 0.0f);
  m.weights.refresh();
  PreparedTask task;
  task.task = &find_task("boolq");
  for (size_t i = 0; i < 3270; ++i) {
    PreparedItem& item = task.items.emplace_back();
    item.gold = i < 1237 ? 0 : 1;
    item.characters = item.bytes = {2, 3};
    item.requests = {{{1, static_cast<int32_t>(i % 30), 4}, 1}, {{1, static_cast<int32_t>(i % 30), 5}, 1}};
  }
  std::vector<std::vector<double>> values;
  NoProgress progress;
  score_task<float>(m.model, whole_program<float>(m.model.config().num_hidden_layers), task, 4096, values,
                    progress);
  const TaskResult result = summarize(task, values);
  const std::string score = fmt::format("{:.2f}", 100 * result.acc.value);
  return {score == "37.83" && !result.acc_flag.empty() && result.tied == 3270,
          fmt::format("BoolQ {}: {}", score, result.acc_flag.empty() ? "not flagged" : "flagged")};
}

}  // namespace

std::vector<SelfCheck> evaluation_checks() {
  return {{"evaluation: likelihoods follow the double reference", likelihoods_match_reference},
          {"evaluation: packing and threads change no bit", packing_changes_no_bit},
          {"evaluation: few-shot draws are the harness's", examples_are_those_of_python},
          {"evaluation: a dead model's score is recognized", dead_model_is_recognized}};
}

}  // namespace fathom::cli
