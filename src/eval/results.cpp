#include "eval/results.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "eval/mmlu_groups.h"

namespace fathom {
namespace {

struct Tally {
  std::vector<size_t> plain, by_characters, by_bytes;  // answers of each item
};

std::vector<bool> right_of(std::span<const PreparedItem> items, std::span<const size_t> answers) {
  std::vector<bool> right(items.size());
  for (size_t i = 0; i < items.size(); ++i) right[i] = answers[i] == items[i].gold;
  return right;
}

std::vector<std::string> subjects_of(std::span<const PreparedItem> items) {
  std::vector<std::string> subjects;
  for (const PreparedItem& item : items) subjects.push_back(item.subject);
  return subjects;
}

template <class NameOf>
std::vector<GroupResult> groups_of(std::span<const PreparedItem> items, const std::vector<bool>& right,
                                   const NameOf& name_of) {
  struct Group {
    std::vector<bool> right;
    std::vector<std::string> subjects;
  };
  std::map<std::string, Group> by_name;
  for (size_t i = 0; i < items.size(); ++i) {
    Group& group = by_name[name_of(items[i].subject)];
    group.right.push_back(right[i]);
    group.subjects.push_back(items[i].subject);
  }
  std::vector<GroupResult> groups;
  for (const auto& [name, group] : by_name)
    groups.push_back({name, group.right.size(), pooled_metric_of(group.right, group.subjects)});
  return groups;
}

nlohmann::json number_or_null(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}

void put_metric(nlohmann::json& json, const std::string& name, const Metric& metric) {
  json[name] = metric.value;
  json[name + "_stderr"] = metric.standard_error ? nlohmann::json(*metric.standard_error) : nlohmann::json();
}

nlohmann::json groups_json(const std::vector<GroupResult>& groups) {
  nlohmann::json list = nlohmann::json::array();
  for (const GroupResult& group : groups) {
    nlohmann::json entry{{"name", group.name}, {"n", group.items}};
    put_metric(entry, "acc", group.acc);
    list.push_back(entry);
  }
  return list;
}

}  // namespace

Metric metric_of(const std::vector<bool>& right) {
  Metric metric;
  const auto n = static_cast<double>(right.size());
  const auto hits = static_cast<double>(std::count(right.begin(), right.end(), true));
  metric.value = hits / n;
  // Of zeros and ones: sum of squares about the mean = n p (1 - p).
  if (right.size() > 1) metric.standard_error = std::sqrt(metric.value * (1 - metric.value) / (n - 1));
  return metric;
}

Metric pooled_metric_of(const std::vector<bool>& right, std::span<const std::string> strata) {
  std::map<std::string, std::vector<bool>> by_stratum;
  for (size_t i = 0; i < right.size(); ++i) by_stratum[strata[i]].push_back(right[i]);
  Metric metric = metric_of(right);
  metric.standard_error.reset();
  if (right.size() == by_stratum.size()) return metric;
  double squares = 0;  // about the means of the strata
  for (const auto& [name, hits] : by_stratum) {
    const double p = metric_of(hits).value;
    squares += static_cast<double>(hits.size()) * p * (1 - p);
  }
  const auto n = static_cast<double>(right.size());
  metric.standard_error = std::sqrt(squares / (n - static_cast<double>(by_stratum.size())) / n);
  return metric;
}

size_t first_largest(std::span<const double> values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

Answers answers_of(const PreparedItem& item, std::span<const double> log_likelihoods) {
  const auto over = [&](const std::vector<size_t>& lengths) {
    std::vector<double> values(log_likelihoods.begin(), log_likelihoods.end());
    for (size_t i = 0; i < values.size(); ++i) values[i] /= static_cast<double>(lengths[i]);
    return first_largest(values);
  };
  return {first_largest(log_likelihoods), over(item.characters), over(item.bytes)};
}

Baselines baselines_of(std::span<const PreparedItem> items) {
  Baselines baselines;
  const auto n = static_cast<double>(items.size());
  for (const PreparedItem& item : items) {
    const size_t choices = item.requests.size();
    if (baselines.constant.size() < choices) baselines.constant.resize(choices);
    baselines.constant[item.gold] += 1;
    baselines.chance += 1 / static_cast<double>(choices);
  }
  baselines.chance /= n;
  for (double& value : baselines.constant) value /= n;
  baselines.majority = first_largest(baselines.constant);
  return baselines;
}

std::string baseline_flag(const Baselines& baselines, std::span<const PreparedItem> items,
                          std::span<const size_t> answers) {
  const auto always = [&](size_t k) {
    return fmt::format("always answering choice {}{}", k + 1,
                       k == baselines.majority ? " (the majority's)" : "");
  };
  if (std::all_of(answers.begin(), answers.end(), [&](size_t a) { return a == answers[0]; }))
    return "every item is answered with choice " + std::to_string(answers[0] + 1) +
           ": this is the score of " + always(answers[0]) + ", not of knowing anything";
  const double score = metric_of(right_of(items, answers)).value;
  for (size_t k = 0; k < baselines.constant.size(); ++k) {
    if (score > 0 && score == baselines.constant[k]) return "equals the score of " + always(k);
  }
  return {};
}

TaskResult summarize(const PreparedTask& task, const std::vector<std::vector<double>>& log_likelihoods) {
  const std::vector<PreparedItem>& items = task.items;
  TaskResult result;
  result.task = task.task->name;
  result.items = items.size();
  Tally tally;
  for (size_t i = 0; i < items.size(); ++i) {
    const std::vector<double>& values = log_likelihoods[i];
    const Answers answers = answers_of(items[i], values);
    tally.plain.push_back(answers.plain);
    tally.by_characters.push_back(answers.by_characters);
    tally.by_bytes.push_back(answers.by_bytes);
    result.tied +=
        std::all_of(values.begin(), values.end(), [&](double v) { return v == values[0]; }) ? 1 : 0;
    result.not_finite +=
        std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }) ? 0 : 1;
  }
  result.right = right_of(items, tally.plain);
  result.acc =
      task.task->has_subjects ? pooled_metric_of(result.right, subjects_of(items)) : metric_of(result.right);
  result.baselines = baselines_of(items);
  result.acc_flag = baseline_flag(result.baselines, items, tally.plain);
  if (task.task->has_acc_norm) {
    result.right_norm = right_of(items, tally.by_characters);
    result.acc_norm = metric_of(result.right_norm);
    result.acc_bytes = metric_of(right_of(items, tally.by_bytes));
    result.acc_norm_flag = baseline_flag(result.baselines, items, tally.by_characters);
  }
  if (task.task->has_subjects) {
    result.groups =
        groups_of(items, result.right, [](const std::string& subject) { return mmlu_group(subject); });
    result.subjects = groups_of(items, result.right, [](const std::string& subject) { return subject; });
  }
  return result;
}

nlohmann::json task_json(const TaskResult& r, const PreparedTask& task,
                         const std::vector<std::vector<double>>& log_likelihoods) {
  nlohmann::json json{{"task", r.task},
                      {"n", r.items},
                      {"tied", r.tied},
                      {"not_finite", r.not_finite},
                      {"truncated", task.truncated}};
  put_metric(json, "acc", r.acc);
  if (r.acc_norm) put_metric(json, "acc_norm", *r.acc_norm);
  if (r.acc_bytes) put_metric(json, "acc_bytes", *r.acc_bytes);
  const std::vector<double>& constant = r.baselines.constant;
  json["baselines"] = {{"chance", r.baselines.chance},
                       {"always_first", constant.empty() ? 0.0 : constant[0]},
                       {"majority", constant.empty() ? 0.0 : constant[r.baselines.majority]},
                       {"majority_choice", r.baselines.majority},
                       {"always_choice", constant}};
  json["flags"] = nlohmann::json::object();
  if (!r.acc_flag.empty()) json["flags"]["acc"] = r.acc_flag;
  if (!r.acc_norm_flag.empty()) json["flags"]["acc_norm"] = r.acc_norm_flag;
  if (!r.groups.empty()) json["groups"] = groups_json(r.groups);
  if (!r.subjects.empty()) json["subjects"] = groups_json(r.subjects);
  nlohmann::json items = nlohmann::json::array();
  for (size_t i = 0; i < task.items.size(); ++i) {
    nlohmann::json values = nlohmann::json::array();
    for (const double v : log_likelihoods[i]) values.push_back(number_or_null(v));
    const Answers answers = answers_of(task.items[i], log_likelihoods[i]);
    nlohmann::json item{{"id", task.items[i].id},
                        {"gold", task.items[i].gold},
                        {"log_likelihoods", values},
                        {"answer", answers.plain}};
    if (r.acc_norm) item["answer_norm"] = answers.by_characters;
    items.push_back(item);
  }
  json["items"] = items;
  return json;
}

}  // namespace fathom
