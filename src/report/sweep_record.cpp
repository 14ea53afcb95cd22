#include "report/sweep_record.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/json_fields.h"

namespace fathom {
namespace {

constexpr const char* kMetrics[] = {"acc", "acc_norm"};

bool has_list(const nlohmann::json& object, const char* key) {
  return object.contains(key) && !object[key].is_null();
}

/// Why a metric's score is none; "" where the file does not say so.
std::string flag_of(const nlohmann::json& task, const std::string& metric,
                    const std::filesystem::path& origin) {
  return task.contains("flags") ? JsonFields(task["flags"], origin).text(metric) : std::string();
}

/// "tasks" of the whole file: how the whole model does.
void read_tasks(const JsonFields& fields, const std::filesystem::path& origin, SweepRecord& sweep) {
  for (const nlohmann::json& object : fields.list("tasks")) {
    const JsonFields task(object, origin);
    for (const char* metric : kMetrics) {
      if (!object.contains(metric)) continue;
      AccuracyRecord& record = sweep.accuracies.emplace_back();
      record.task = task.text("task");
      record.metric = metric;
      record.items = task.whole("n");
      record.value = task.number(metric);
      record.error = task.number(record.metric + "_stderr");
      record.flag = flag_of(object, metric, origin);
      if (!object.contains("baselines")) continue;
      const JsonFields baselines(object["baselines"], origin);
      record.chance = baselines.number("chance");
      record.majority = baselines.number("majority");
    }
  }
}

/// "tasks" of one removal.
void read_accuracies(const JsonFields& removal, const std::vector<uint64_t>& layers,
                     const std::filesystem::path& origin, SweepRecord& sweep) {
  for (const nlohmann::json& object : removal.list("tasks")) {
    const JsonFields task(object, origin);
    const std::string name = task.text("task");
    for (const std::string metric : kMetrics) {
      if (!object.contains(metric)) continue;
      const auto it =
          std::find_if(sweep.accuracies.begin(), sweep.accuracies.end(),
                       [&](const AccuracyRecord& r) { return r.task == name && r.metric == metric; });
      if (it == sweep.accuracies.end())
        task.refuse(
            fmt::format("'tasks' of a removal has '{}' of '{}', which the whole model lacks", metric, name));
      if (std::any_of(it->removed.begin(), it->removed.end(),
                      [&](const AccuracyRemovalRecord& r) { return r.layers == layers; }))
        task.refuse(fmt::format("scores '{}' without layer {} twice", name, layers[0]));
      it->removed.push_back({.layers = layers,
                             .value = task.number(metric),
                             .delta = task.number("delta_" + metric),
                             .delta_stderr = task.number("delta_" + metric + "_stderr"),
                             .mcnemar_p = task.number(metric + "_mcnemar_p"),
                             .flag = flag_of(object, metric, origin)});
    }
  }
}

void read_removal(const nlohmann::json& object, const std::filesystem::path& origin, SweepRecord& sweep) {
  const JsonFields removal(object, origin);
  std::vector<uint64_t> layers = removal.wholes("layers");
  if (layers.empty()) removal.refuse("'layers' is empty");
  std::sort(layers.begin(), layers.end());
  if (layers.front() == 0) removal.refuse("'layers' has a layer 0; layers count from 1");
  const double loss = removal.number("loss"), delta = removal.number("delta_loss"),
               error = removal.number("delta_loss_stderr");
  if (has_list(object, "tasks")) {
    read_accuracies(removal, layers, origin, sweep);
    if (std::isnan(loss) && std::isnan(delta)) return;  // A sweep of tasks alone.
  }
  if (layers.size() == 1) {
    sweep.removed.push_back(
        {.layer = layers[0], .loss = loss, .delta_loss = delta, .delta_loss_stderr = error});
  } else {
    sweep.blocks.push_back({.layers = std::move(layers), .delta_loss = delta, .delta_loss_stderr = error});
  }
}

}  // namespace

std::string AccuracyRemovalRecord::verdict() const {
  if (std::isnan(delta) || std::isnan(delta_stderr)) return "noise unknown";
  if (std::abs(delta) <= 2 * delta_stderr) return "within noise";
  return delta > 0 ? "better" : "worse";
}

std::string SweepRecord::other_checkpoint(const std::string& than) const {
  const auto name_of = [](const std::string& path) {
    const std::filesystem::path p(path);
    return (p.has_filename() ? p : p.parent_path()).filename().string();
  };
  const std::string own = name_of(checkpoint), other = name_of(than);
  return own.empty() || other.empty() || own == other ? std::string() : " (of " + own + ")";
}

uint64_t SweepRecord::last_layer() const {
  uint64_t last = removed.empty() ? 0 : removed.back().layer;
  for (const BlockRemovalRecord& block : blocks) last = std::max(last, block.layers.back());
  for (const AccuracyRecord& accuracy : accuracies) {
    for (const AccuracyRemovalRecord& r : accuracy.removed) last = std::max(last, r.layers.back());
  }
  return last;
}

SweepRecord read_sweep(const nlohmann::json& object, const std::filesystem::path& origin) {
  const JsonFields fields(object, origin);
  SweepRecord sweep{.model = fields.text("model"),
                    .checkpoint = fields.text("checkpoint"),
                    .what = object.contains("what") ? fields.text("what") : "layer",
                    .tokens = object.contains("tokens") ? fields.whole("tokens") : 0,
                    .loss = fields.number("loss"),
                    .perplexity = fields.number("perplexity"),
                    .removed = {},
                    .blocks = {},
                    .effective_depth = fields.number("effective_depth"),
                    .effective_depth_ratio = fields.number("effective_depth_ratio")};
  if (has_list(object, "tasks")) read_tasks(fields, origin, sweep);
  const nlohmann::json& removed = fields.list("removed");
  if (removed.empty()) fields.refuse("'removed' is empty");
  for (const nlohmann::json& item : removed) read_removal(item, origin, sweep);
  if (std::isnan(sweep.effective_depth_ratio) && !sweep.removed.empty()) {
    sweep.effective_depth_ratio = sweep.effective_depth / static_cast<double>(sweep.removed.size());
  }
  const auto by_layer = [](const RemovalRecord& a, const RemovalRecord& b) { return a.layer < b.layer; };
  std::stable_sort(sweep.removed.begin(), sweep.removed.end(), by_layer);
  const auto twice =
      std::adjacent_find(sweep.removed.begin(), sweep.removed.end(),
                         [](const RemovalRecord& a, const RemovalRecord& b) { return a.layer == b.layer; });
  if (twice != sweep.removed.end()) fields.refuse(fmt::format("removes layer {} twice", twice->layer));
  return sweep;
}

}  // namespace fathom
