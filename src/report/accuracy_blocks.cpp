#include "report/accuracy_blocks.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/layer_ranges.h"
#include "report/blocks.h"
#include "report/format.h"
#include "report/metric_definitions.h"

namespace fathom {
namespace {

using nlohmann::json;

std::string percent(double share) { return std::isnan(share) ? "" : fmt::format("{:.2f}", 100 * share); }

/// "-18.20 +- 2.10", in points of accuracy.
std::string change_text(const AccuracyRemovalRecord& r) {
  if (std::isnan(r.delta)) return {};
  const std::string text = fmt::format("{:+.2f}", 100 * r.delta);
  return std::isnan(r.delta_stderr) ? text : fmt::format("{} +- {:.2f}", text, 100 * r.delta_stderr);
}

size_t removed_at_once(const AccuracyRecord& accuracy) {
  return accuracy.removed.empty() ? 1 : accuracy.removed.front().layers.size();
}

/// "layer", "run of 3 layers", "layer's attention", "run of 3 layers' MLPs".
std::string removed_text(const std::string& what, size_t count) {
  const std::string layers = count > 1 ? fmt::format("run of {} layers", count) : "layer";
  const std::string owner = count > 1 ? "' " : "'s ";
  if (what == "layer") return layers;
  if (what == "attn") return layers + owner + "attention";
  return layers + owner + (what == "mlp" ? "MLP" : what);
}

/// The removals of which `which` is true: "3, 7-9" of single layers, "1-2, 2-3" of runs.
template <class Predicate>
std::string list_of(const AccuracyRecord& accuracy, size_t& count, const Predicate& which) {
  std::vector<uint64_t> singles;
  std::string runs;
  count = 0;
  for (const AccuracyRemovalRecord& r : accuracy.removed) {
    if (!which(r)) continue;
    ++count;
    if (r.layers.size() == 1)
      singles.push_back(r.layers[0]);
    else
      runs += (runs.empty() ? "" : ", ") + layer_ranges(r.layers);
  }
  std::sort(singles.begin(), singles.end());
  return runs.empty() ? layer_ranges(singles) : runs;
}

/// What no change detected leaves open: a change of two standard errors of the middle one of those removals.
std::string detectable_text(const AccuracyRecord& accuracy) {
  std::vector<double> errors;
  for (const AccuracyRemovalRecord& r : accuracy.removed) {
    if (r.verdict() == "within noise") errors.push_back(r.delta_stderr);
  }
  if (errors.empty()) return {};
  std::sort(errors.begin(), errors.end());
  return fmt::format(" (the smallest detectable is about {:.2f} points)", 200 * errors[errors.size() / 2]);
}

std::string task_sentence(const AccuracyRecord& a, const std::string& what) {
  size_t quiet = 0;
  const std::string list =
      list_of(a, quiet, [](const AccuracyRemovalRecord& r) { return r.verdict() == "within noise"; });
  std::string text = fmt::format(
      "{} ({} items, whole {}): no change of accuracy was detected in {} of {} removals of a {}{}{}.", a.task,
      a.items, with_error(100 * a.value, 100 * a.error, 2), quiet, a.removed.size(),
      removed_text(what, removed_at_once(a)), list.empty() ? "" : ": " + list, detectable_text(a));
  const auto worst = std::min_element(a.removed.begin(), a.removed.end(),
                                      [](const AccuracyRemovalRecord& x, const AccuracyRemovalRecord& y) {
                                        return x.delta < y.delta;  // What is not a number is never the least.
                                      });
  if (worst != a.removed.end() && worst->verdict() == "worse")
    text += fmt::format(" Worst without {}: {} points.", layer_ranges(worst->layers), change_text(*worst));
  return text;
}

std::string flag_sentence(const AccuracyRecord& a) {
  size_t count = 0;
  const std::string list = list_of(a, count, [](const AccuracyRemovalRecord& r) { return !r.flag.empty(); });
  if (count == 0) return {};
  return fmt::format(
      "{}: the score without {} equals that of some constant answer: a model that knows nothing gets it too.",
      a.task, list);
}

json series_of(const Removals& r, const AccuracyRecord& a, bool alone) {
  json points = json::array(), errors = json::array();
  for (const AccuracyRemovalRecord& removal : a.removed) {
    points.push_back({removal.layers.front(), compact(100 * removal.delta)});
    errors.push_back(compact(100 * removal.delta_stderr));
  }
  std::string label = alone ? a.metric : r.name + ", " + a.metric;
  if (r.what != "layer" || removed_at_once(a) > 1) label += ", " + removed_text(r.what, removed_at_once(a));
  return {{"run", r.run}, {"label", label},   {"layers", r.layers}, {"dash", a.metric != "acc" && !alone},
          {"dots", true}, {"points", points}, {"errors", errors}};
}

std::vector<std::string> tasks_of(const std::vector<Removals>& removals) {
  std::vector<std::string> tasks;
  for (const Removals& r : removals) {
    for (const AccuracyRecord& a : r.accuracies) {
      if (std::find(tasks.begin(), tasks.end(), a.task) == tasks.end()) tasks.push_back(a.task);
    }
  }
  return tasks;
}

json chart_of_task(const std::vector<Removals>& removals, const std::string& task, bool wide) {
  json series = json::array();
  uint64_t items = 0;
  bool runs = false, relative = false;
  for (const Removals& r : removals) {
    const bool alone = std::all_of(removals.begin(), removals.end(),
                                   [&](const Removals& other) { return other.run == r.run; });
    for (const AccuracyRecord& a : r.accuracies) {
      if (a.task != task || a.removed.empty()) continue;
      relative = relative || (!series.empty() && series[0]["layers"] != r.layers);
      runs = runs || removed_at_once(a) > 1;
      items = std::max(items, a.items);
      series.push_back(series_of(r, a, alone));
      // The metrics of a single model have colours of their own.
      if (alone) series.back()["colour"] = r.run + series.size() - 1;
    }
  }
  if (series.empty()) return {};
  // Bars of more than three series are too thin to tell apart on a phone.
  const bool bars = series.size() <= 3 && !relative;
  json toggles = json::array();
  if (relative) toggles.push_back("relative");
  return {
      {"kind", "chart"},
      {"type", bars ? "bar" : "line"},
      {"wide", wide},
      {"title", "What removing layers does to " + task},
      {"x",
       {{"title", runs ? "first layer removed" : "layer removed"},
        {"unit", "layer"},
        {"relative", relative}}},
      {"y", {{"title", "change of accuracy, points"}, {"zero", true}}},
      {"toggles", toggles},
      {"define", {metric_definition_index("delta_acc")}},
      {"series", std::move(series)},
      {"note",
       fmt::format("Accuracy without the layers minus that of the whole model, on the same {} items. Bars "
                   "of two paired standard errors; one change in twenty lies beyond them by luck alone.",
                   items)}};
}

/// "worse; as a constant answer" for what is flagged.
std::string verdict_cell(const AccuracyRemovalRecord& r) {
  return r.flag.empty() ? r.verdict() : r.verdict() + "; as a constant answer";
}

json table_of(const Removals& r) {
  json head = json::array({"without"}), right = json::array({true});
  json whole = json::array({"nothing"});
  std::vector<std::vector<uint64_t>> order;  // A row a removal.
  for (const AccuracyRecord& a : r.accuracies) {
    for (const std::string& name :
         {a.task + " " + a.metric, std::string("change, points"), std::string("p"), std::string("verdict")}) {
      head.push_back(name);
      right.push_back(name != "verdict");
    }
    for (const std::string& cell : {with_error(100 * a.value, 100 * a.error, 2), std::string(), std::string(),
                                    std::string(a.flag.empty() ? "" : "as a constant answer")})
      whole.push_back(typeset(cell));
    for (const AccuracyRemovalRecord& removal : a.removed) {
      if (std::find(order.begin(), order.end(), removal.layers) == order.end())
        order.push_back(removal.layers);
    }
  }
  json rows = json::array({{{"cells", whole}}});
  for (const std::vector<uint64_t>& layers : order) {
    json cells = json::array({layer_ranges(layers)});
    for (const AccuracyRecord& a : r.accuracies) {
      const auto it = std::find_if(a.removed.begin(), a.removed.end(),
                                   [&](const AccuracyRemovalRecord& x) { return x.layers == layers; });
      const AccuracyRemovalRecord none;
      const AccuracyRemovalRecord& removal = it == a.removed.end() ? none : *it;
      for (const std::string& cell : {percent(removal.value), change_text(removal),
                                      number_text(removal.mcnemar_p, 2), verdict_cell(removal)})
        cells.push_back(typeset(cell));
    }
    rows.push_back({{"cells", cells}});
  }
  const std::string part = r.what == "layer" ? "" : ", " + removed_text(r.what, 1) + " alone";
  return {{"kind", "table"}, {"head", head},
          {"right", right},  {"rows", rows},
          {"scroll", true},  {"fold", fmt::format("Accuracy of {} without its layers{}", r.name, part)}};
}

}  // namespace

std::vector<std::string> accuracy_sentences(const std::vector<AccuracyRecord>& accuracies,
                                            const std::string& what) {
  std::vector<std::string> out;
  for (const AccuracyRecord& a : accuracies) {
    if (a.metric != "acc" || a.removed.empty()) continue;
    out.push_back(task_sentence(a, what));
    if (std::string sentence = flag_sentence(a); !sentence.empty()) out.push_back(std::move(sentence));
  }
  return out;
}

std::vector<json> accuracy_charts(const std::vector<Removals>& removals) {
  std::vector<json> out;
  const std::vector<std::string> tasks = tasks_of(removals);
  for (const std::string& task : tasks) {
    json chart = chart_of_task(removals, task, tasks.size() == 1);
    if (!chart.is_null()) out.push_back(std::move(chart));
  }
  return out;
}

std::vector<json> accuracy_tables(const std::vector<Removals>& removals) {
  std::vector<json> out;
  for (const Removals& r : removals) {
    if (!r.accuracies.empty()) out.push_back(table_of(r));
  }
  return out;
}

}  // namespace fathom
