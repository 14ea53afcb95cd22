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
  Worst worst;
  size_t at = 0;
  for (const auto& group : groups) {
    for (const ScoreRequest& request : group) {  // by itself, from its first token on, nothing shared
      const size_t T = request.ids.size() - 1;
      std::vector<double> nll(T);
      reference.model.forward(
          nll.data(), {.B = 1, .T = T, .tokens = request.ids.data(), .targets = request.ids.data() + 1});
      for (size_t i = T - request.scored; i < T; ++i) {
        worst.see(std::abs(nll[i] - packed[at++]));
      }
    }
  }
  return below(worst.value, 1e-4, "largest difference");
}

CheckResult examples_are_those_of_python() {
  PythonRandom random(1234);
  const bool same = random.sample(2251, 5) == std::vector<size_t>{1805, 478, 30, 371, 143} &&
                    random.sample(2251, 5) == std::vector<size_t>{343, 403, 1452, 969, 71};
  return {same, "random.Random(1234).sample(range(2251), 5), twice"};
}

// A task's items in the numbers of its test set: how many there are, and of how many the first choice is
// right.
struct DeadScore {
  const char* task;
  size_t items, first_right, choices;
  const char* score;
};

PreparedTask items_alike(const DeadScore& dead) {
  PreparedTask task;
  task.task = &find_task(dead.task);
  for (size_t i = 0; i < dead.items; ++i) {
    PreparedItem& item = task.items.emplace_back();
    item.subject = task.task->has_subjects ? fmt::format("subject {}", i % 57) : "";
    item.gold = i < dead.first_right ? 0 : 1 + i % (dead.choices - 1);
    item.characters = item.bytes = std::vector<size_t>(dead.choices, 2);
    for (size_t choice = 0; choice < dead.choices; ++choice)
      item.requests.push_back({{1, static_cast<int32_t>(i % 30), static_cast<int32_t>(4 + choice)}, 1});
  }
  return task;
}

// A model whose weights are zero finds all tokens alike and answers the first choice: its scores look like
// scores.
CheckResult dead_models_are_recognized() {
  TinyModel<float> m(tiny_config(NormType::kPre));
  std::fill_n(m.weights.values(), m.weights.count(), 0.0f);
  m.weights.refresh();
  bool good = true;
  std::string detail;
  for (const DeadScore& dead :
       {DeadScore{"boolq", 3270, 1237, 2, "37.83"}, DeadScore{"arc_easy", 2376, 596, 4, "25.08"},
        DeadScore{"hellaswag", 10042, 2515, 4, "25.04"}, DeadScore{"mmlu", 14042, 3222, 4, "22.95"}}) {
    const PreparedTask task = items_alike(dead);
    std::vector<std::vector<double>> values;
    NoProgress progress;
    score_task<float>(m.model, whole_program<float>(m.model.config().num_hidden_layers), task, 4096, values,
                      progress);
    const TaskResult result = summarize(task, values);
    const std::string score = fmt::format("{:.2f}", 100 * result.acc.value);
    const bool flagged = !result.acc_flag.empty() && (!result.acc_norm || !result.acc_norm_flag.empty()) &&
                         result.tied == dead.items;
    good = good && flagged && score == dead.score;
    detail +=
        fmt::format("{}{} {}{}", detail.empty() ? "" : ", ", dead.task, score, flagged ? "" : " NOT FLAGGED");
  }
  return {good, detail};
}

}  // namespace

std::vector<SelfCheck> evaluation_checks() {
  return {{"evaluation: likelihoods follow the double reference", likelihoods_match_reference},
          {"evaluation: packing and threads change no bit", packing_changes_no_bit},
          {"evaluation: few-shot draws are the harness's", examples_are_those_of_python},
          {"evaluation: a dead model's scores are recognized", dead_models_are_recognized}};
}

}  // namespace fathom::cli
