#include "eval/results.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "eval/mmlu_groups.h"

namespace fathom {
namespace {

PreparedItem item_of(size_t gold, const std::vector<size_t>& characters, const std::string& subject = "") {
  PreparedItem item;
  item.gold = gold;
  item.subject = subject;
  item.characters = item.bytes = characters;
  item.requests.resize(characters.size());
  return item;
}

/// A task of `counts[k]` items with gold k, all of them with as many choices as there are counts.
PreparedTask task_of(const char* name, const std::vector<size_t>& counts) {
  PreparedTask task;
  task.task = &find_task(name);
  for (size_t k = 0; k < counts.size(); ++k) {
    for (size_t i = 0; i < counts[k]; ++i)
      task.items.push_back(item_of(k, std::vector<size_t>(counts.size(), 1)));
  }
  return task;
}

TEST(Metrics, TakeTheFirstOfEqualsAndNormalizeByLength) {
  PreparedItem item = item_of(0, {10, 2, 4});
  item.bytes = {10, 2, 1};
  const std::vector<double> ties{-3, -3, -3}, values{-4.0, -3.0, -2.0};
  EXPECT_EQ(answers_of(item, ties).plain, 0u);
  const Answers answers = answers_of(item, values);
  EXPECT_EQ(answers.plain, 2u);
  EXPECT_EQ(answers.by_characters, 0u);  // -0.4, -1.5, -0.5
  EXPECT_EQ(answers.by_bytes, 0u);       // -0.4, -1.5, -2
}

TEST(Metrics, HaveTheStandardErrorOfASampleMean) {
  const Metric m = metric_of({true, false, true, true});
  EXPECT_EQ(m.value, 0.75);
  EXPECT_NEAR(*m.standard_error, 0.25, 1e-15);  // sd of {1, 0, 1, 1} is 0.5; over sqrt(4)
  EXPECT_FALSE(metric_of({true}).standard_error.has_value());
  EXPECT_EQ(*metric_of({true, true}).standard_error, 0.0);
}

// Proof kit (h): the golds of the published splits, and a model that finds all choices alike.
TEST(Baselines, OfADeadModelAreRecognized) {
  struct Case {
    const char* task;
    std::vector<size_t> golds;
    const char* score;
  };
  for (const Case& c :
       {Case{"boolq", {1237, 2033}, "37.83"}, Case{"hellaswag", {2515, 2485, 2584, 2458}, "25.04"},
        Case{"arc_challenge", {266, 311, 310, 285}, "22.70"}}) {
    const PreparedTask task = task_of(c.task, c.golds);
    const std::vector<std::vector<double>> dead(task.items.size(), std::vector<double>(c.golds.size(), -7.5));
    const TaskResult result = summarize(task, dead);
    EXPECT_EQ(std::to_string(std::round(result.acc.value * 1e4) / 1e2).substr(0, 5), c.score);
    EXPECT_EQ(result.tied, task.items.size());
    EXPECT_NE(result.acc_flag.find("every item is answered with choice 1"), std::string::npos);
    EXPECT_EQ(result.baselines.constant[0], result.acc.value);
  }
}

TEST(Baselines, EqualToAConstantAnswerAreFlaggedAndOthersNot) {
  const PreparedTask task = task_of("boolq", {3, 5});
  const auto flag = [&](const std::vector<size_t>& answers) {
    return baseline_flag(baselines_of(task.items), task.items, answers);
  };
  EXPECT_EQ(flag({0, 0, 1, 1, 1, 0, 0, 0}), "");  // 4 right
  EXPECT_NE(flag({0, 0, 1, 1, 0, 0, 0, 0}).find("equals the score of always answering choice 1"),
            std::string::npos);
  EXPECT_NE(flag({0, 1, 1, 1, 1, 1, 1, 0}).find("choice 2 (the majority's)"), std::string::npos);
  EXPECT_NE(flag({1, 1, 1, 1, 1, 1, 1, 1}).find("every item is answered with choice 2"), std::string::npos);
}

TEST(Baselines, CountItemsWithFewerChoices) {
  const std::vector<PreparedItem> items = {item_of(0, {1, 1}), item_of(3, {1, 1, 1, 1}),
                                           item_of(3, {1, 1, 1, 1}), item_of(1, {1, 1, 1, 1})};
  const Baselines b = baselines_of(items);
  EXPECT_EQ(b.chance, (0.5 + 3 * 0.25) / 4);
  EXPECT_EQ(b.constant, (std::vector<double>{0.25, 0.25, 0, 0.5}));
  EXPECT_EQ(b.majority, 3u);
}

// By lm-evaluation-harness's own formula: of the subjects' standard errors s and sizes n,
// sqrt(sum (n - 1) s^2 n / (sum n - subjects) / sum n).
TEST(Metrics, PooledOverStrataIsTheHarnesss) {
  const std::vector<bool> right{true, false, true, true, false, false, true};
  const std::vector<std::string> strata{"a", "a", "a", "a", "b", "b", "b"};
  const double a = *metric_of({true, false, true, true}).standard_error,
               b = *metric_of({false, false, true}).standard_error;
  const Metric pooled = pooled_metric_of(right, strata);
  EXPECT_EQ(pooled.value, metric_of(right).value);
  EXPECT_NEAR(*pooled.standard_error, std::sqrt((3 * a * a * 4 + 2 * b * b * 3) / (7 - 2) / 7), 1e-15);
  const std::vector<std::string> one(7, "a");
  EXPECT_NEAR(*pooled_metric_of(right, one).standard_error, *metric_of(right).standard_error, 1e-15);
}

TEST(Results, WeightMmlusGroupsBySize) {
  PreparedTask task;
  task.task = &find_task("mmlu");
  for (const char* subject :
       {"astronomy", "astronomy", "astronomy", "machine_learning", "sociology", "virology"})
    task.items.push_back(item_of(0, {1, 1}, subject));
  const std::vector<double> right{-1, -2}, wrong{-2, -1};
  const TaskResult r = summarize(task, {right, right, wrong, wrong, right, wrong});
  EXPECT_EQ(r.acc.value, 0.5);
  ASSERT_EQ(r.groups.size(), 3u);
  EXPECT_EQ(r.groups[2].name, "stem");
  EXPECT_EQ(r.groups[2].items, 4u);
  EXPECT_EQ(r.groups[2].acc.value, 0.5);  // 2 of 4, not the mean of 2/3 and 0
  EXPECT_EQ(r.subjects.size(), 4u);
  // Pooled within subjects: 3 (2/3) (1/3) over 4 - 2, over 4; of all, over 6 - 4, over 6.
  EXPECT_NEAR(*r.groups[2].acc.standard_error, std::sqrt((2.0 / 3) / 2 / 4), 1e-15);
  EXPECT_NEAR(*r.acc.standard_error, std::sqrt((2.0 / 3) / 2 / 6), 1e-15);
  EXPECT_FALSE(r.groups[0].acc.standard_error.has_value()) << "one item";
  EXPECT_EQ(mmlu_group("us_foreign_policy"), "social_sciences");
  EXPECT_EQ(mmlu_group("formal_logic"), "humanities");
}

TEST(Results, WriteTheirItems) {
  const PreparedTask task = task_of("piqa", {1, 1});
  const std::vector<std::vector<double>> values = {{-1.0, -2.0}, {-INFINITY, -2.5}};
  const TaskResult result = summarize(task, values);
  EXPECT_EQ(result.not_finite, 1u);
  const nlohmann::json json = task_json(result, task, values);
  EXPECT_EQ(json["task"], "piqa");
  EXPECT_EQ(json["n"], 2);
  EXPECT_EQ(json["acc"], 1.0);
  EXPECT_EQ(json["acc_stderr"], 0.0);
  EXPECT_EQ(json["baselines"]["always_first"], 0.5);
  EXPECT_EQ(json["items"][0]["log_likelihoods"], nlohmann::json({-1.0, -2.0}));
  EXPECT_TRUE(json["items"][1]["log_likelihoods"][0].is_null());
  EXPECT_EQ(json["items"][1]["answer"], 1);
}

}  // namespace
}  // namespace fathom
