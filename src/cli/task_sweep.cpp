#include "cli/task_sweep.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/task_options.h"
#include "report/table.h"

namespace fathom::cli {
namespace {

std::string verdict_of(const AccuracyChange& change, const std::string& flag) {
  const std::optional<bool> noise = change.within_noise();
  const std::string verdict = !noise             ? "noise unknown"
                              : *noise           ? "within noise"
                              : change.delta > 0 ? "better"
                                                 : "worse";
  return flag.empty() ? verdict : verdict + " *";
}

void add_cells(std::vector<std::string>& row, const Metric& metric, const AccuracyChange& change,
               const std::string& flag) {
  row.insert(row.end(), {percent(metric.value), fmt::format("{:+.2f}", 100 * change.delta),
                         percent(change.standard_error), fmt::format("{:.3g}", change.mcnemar_p),
                         verdict_of(change, flag)});
}

// "metric: why", with the removals that it is true of.
std::string flags_text(const SweptTask& task, const std::vector<std::string>& names) {
  std::map<std::string, std::string> removals;
  const auto add = [&](const std::string& metric, const std::string& flag, const std::string& name) {
    if (flag.empty()) return;
    std::string& list = removals[metric + ": " + flag];
    list += (list.empty() ? "" : ", ") + name;
  };
  for (size_t i = 0; i < task.removed.size(); ++i) {
    const TaskResult& r = task.removed[i].result;
    add("acc", r.acc_flag, names[i]);
    add("acc_norm", r.acc_norm_flag, names[i]);
    if (r.not_finite > 0)
      add("log-likelihoods", fmt::format("not finite for {} items", r.not_finite), names[i]);
  }
  std::string text;
  for (const auto& [flag, list] : removals) text += fmt::format("* without {}: {}\n", list, flag);
  return text;
}

std::string whole_text(const TaskResult& r) {
  std::string text = fmt::format("{}, {} items, whole: acc {} +- {}", r.task, r.items, percent(r.acc.value),
                                 percent(r.acc.standard_error));
  if (r.acc_norm)
    text +=
        fmt::format(", acc_norm {} +- {}", percent(r.acc_norm->value), percent(r.acc_norm->standard_error));
  text += fmt::format(" (chance {}, majority {})\n", percent(r.baselines.chance),
                      percent(r.baselines.constant[r.baselines.majority]));
  if (!r.acc_flag.empty()) text += fmt::format("{}: acc {}\n", r.task, r.acc_flag);
  if (!r.acc_norm_flag.empty()) text += fmt::format("{}: acc_norm {}\n", r.task, r.acc_norm_flag);
  return text;
}

void put_change(nlohmann::json& json, const std::string& metric, const Metric& score,
                const AccuracyChange& change, const std::vector<bool>& right) {
  const auto or_null = [](const auto& value) { return value ? nlohmann::json(*value) : nlohmann::json(); };
  std::string marks;
  for (const bool hit : right) marks += hit ? '1' : '0';
  json[metric] = score.value;
  json[metric + "_stderr"] = or_null(score.standard_error);
  json["delta_" + metric] = change.delta;
  json["delta_" + metric + "_stderr"] = or_null(change.standard_error);
  json[metric + "_within_noise"] = or_null(change.within_noise());
  json[metric + "_lost"] = change.lost;
  json[metric + "_gained"] = change.gained;
  json[metric + "_mcnemar_p"] = change.mcnemar_p;
  json[metric + "_right"] = marks;
}

}  // namespace

template <class S>
std::vector<ProgramVariant<S>> removal_variants(size_t num_layers, const std::vector<Removal>& removals) {
  const Program<S> whole = whole_program<S>(num_layers);
  std::vector<ProgramVariant<S>> variants;
  for (const Removal& removal : removals) variants.push_back({removal.begin, steps_after(whole, removal)});
  return variants;
}

SweptTask summarize_sweep(const PreparedTask& task, const std::vector<std::vector<double>>& values) {
  const size_t variants = task.items.empty() ? 1 : values[0].size() / task.items[0].requests.size();
  // Of one variant: 0 is the whole.
  const auto part = [&](size_t v) {
    std::vector<std::vector<double>> own(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const auto choices = static_cast<std::ptrdiff_t>(task.items[i].requests.size());
      const auto first = values[i].begin() + static_cast<std::ptrdiff_t>(v) * choices;
      own[i].assign(first, first + choices);
    }
    return own;
  };
  SweptTask swept;
  swept.log_likelihoods = part(0);
  swept.whole = summarize(task, swept.log_likelihoods);
  for (size_t v = 1; v < variants; ++v) {
    SweptScore score{summarize(task, part(v)), {}, {}};
    score.acc = accuracy_change(swept.whole.right, score.result.right);
    if (score.result.acc_norm)
      score.acc_norm = accuracy_change(swept.whole.right_norm, score.result.right_norm);
    swept.removed.push_back(std::move(score));
  }
  return swept;
}

std::string swept_task_text(const SweptTask& task, const std::vector<std::string>& names) {
  std::vector<TableColumn> columns{{"without"}};
  const auto add = [&](const char* metric) {
    columns.insert(columns.end(), {{metric}, {"change"}, {"+-"}, {"p"}, {"", Align::kLeft}});
  };
  add("acc");
  if (task.whole.acc_norm) add("acc_norm");
  Table table(columns);
  for (size_t i = 0; i < task.removed.size(); ++i) {
    const SweptScore& score = task.removed[i];
    std::vector<std::string> row{names[i]};
    add_cells(row, score.result.acc, score.acc, score.result.acc_flag);
    if (score.acc_norm) add_cells(row, *score.result.acc_norm, *score.acc_norm, score.result.acc_norm_flag);
    table.add_row(row);
  }
  return whole_text(task.whole) + table.text() + flags_text(task, names);
}

nlohmann::json swept_score_json(const SweptScore& score) {
  const TaskResult& r = score.result;
  nlohmann::json json{{"task", r.task}, {"n", r.items}, {"tied", r.tied}, {"not_finite", r.not_finite}};
  put_change(json, "acc", r.acc, score.acc, r.right);
  if (score.acc_norm) put_change(json, "acc_norm", *r.acc_norm, *score.acc_norm, r.right_norm);
  json["flags"] = nlohmann::json::object();
  if (!r.acc_flag.empty()) json["flags"]["acc"] = r.acc_flag;
  if (!r.acc_norm_flag.empty()) json["flags"]["acc_norm"] = r.acc_norm_flag;
  return json;
}

template std::vector<ProgramVariant<float>> removal_variants<float>(size_t, const std::vector<Removal>&);

}  // namespace fathom::cli
