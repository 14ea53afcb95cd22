#pragma once
// From log-likelihoods to scores: metrics and their standard errors as lm-evaluation-harness has them, and
// the scores that a model without any skill would get on the same items.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "eval/requests.h"

namespace fathom {

/// Mean of 0 and 1 over items; `standard_error` is sample sd / sqrt(n), nothing for a single item.
struct Metric {
  double value = 0;
  std::optional<double> standard_error;
};
Metric metric_of(const std::vector<bool>& right);

/// Of items in strata (mmlu's subjects), by the stratum of each: the mean over all items, and the standard
/// error that the variance within strata leaves: sqrt(sum n_s p_s (1 - p_s) / (N - strata) / N). Which
/// subjects there are is no matter of luck. Source: lm-evaluation-harness, lm_eval/api/metrics.py,
/// pooled_sample_stderr. Nothing where each stratum has one item.
Metric pooled_metric_of(const std::vector<bool>& right, std::span<const std::string> strata);

/// Index of the largest; the first of equals (numpy.argmax).
size_t first_largest(std::span<const double> values);

/// What an item is answered, by sum of log-likelihoods, by that over characters and over bytes.
struct Answers {
  size_t plain = 0, by_characters = 0, by_bytes = 0;
};
Answers answers_of(const PreparedItem& item, std::span<const double> log_likelihoods);

/// Scores of answers that ignore the question, computed from the items at hand.
struct Baselines {
  double chance = 0;             ///< mean of 1 / choices
  std::vector<double> constant;  ///< of always answering choice k
  size_t majority = 0;           ///< the k with the best of these
};
Baselines baselines_of(std::span<const PreparedItem> items);

/// Why a metric's score is none: "" where nothing is wrong. `answers` are those that the metric counts.
/// A dead model answers every item alike, or ties on all choices (and so answers the first), or finds no
/// finite likelihood; its score looks like a score: 25.08 on ARC-Easy, 37.83 on BoolQ.
std::string baseline_flag(const Baselines& baselines, std::span<const PreparedItem> items,
                          std::span<const size_t> answers);

struct GroupResult {
  std::string name;  ///< a subject, or one of mmlu's four groups of subjects
  size_t items = 0;
  Metric acc;
};

struct TaskResult {
  std::string task;
  size_t items = 0, tied = 0, not_finite = 0;  ///< tied: items whose choices are all equally likely
  Metric acc;
  std::optional<Metric> acc_norm, acc_bytes;
  std::vector<bool> right, right_norm;  ///< of each item, by acc and by acc_norm; the second may be empty
  Baselines baselines;
  std::string acc_flag, acc_norm_flag;
  /// Of mmlu; a group's items count alike, so that it is weighted by size. The standard errors of groups and
  /// of the whole are pooled over subjects.
  std::vector<GroupResult> groups, subjects;
};

/// `log_likelihoods[i]`: of each choice of item i. Errors: none.
TaskResult summarize(const PreparedTask& task, const std::vector<std::vector<double>>& log_likelihoods);

/// The result with its items; docs/evaluation.md lists the keys.
nlohmann::json task_json(const TaskResult& result, const PreparedTask& task,
                         const std::vector<std::vector<double>>& log_likelihoods);

}  // namespace fathom
