#include "report/compare_charts.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/blocks.h"
#include "report/curves.h"
#include "report/format.h"
#include "report/metric_definitions.h"
#include "report/run_summary.h"

namespace fathom {
namespace {

using nlohmann::json;

constexpr size_t kCurvePoints = 1000;  // About one a pixel.
constexpr size_t kMapColumns = 80;

/// (layer, value) for layers 1 to L.
Curve by_layer(const std::vector<double>& values) {
  Curve out;
  for (size_t i = 0; i < values.size(); ++i) out.emplace_back(static_cast<double>(i + 1), values[i]);
  return out;
}

/// The last probe of each run, one series a run; null where no run was probed.
json probe_chart(const RunComparison& c, const std::string& title, const std::string& unit,
                 const std::string& note, std::vector<double> MetricRecord::*values, std::string_view key) {
  json series = json::array();
  for (size_t i = 0; i < c.runs.size(); ++i) {
    const auto& points = c.runs[i].points;
    const auto last = std::find_if(points.rbegin(), points.rend(),
                                   [&](const MetricRecord& p) { return !(p.*values).empty(); });
    if (last == points.rend()) continue;
    series.push_back({{"run", i},
                      {"label", c.runs[i].name},
                      {"layers", ((*last).*values).size()},
                      {"dots", true},
                      {"points", points_of(by_layer((*last).*values))}});
  }
  if (series.empty()) return {};
  return {{"kind", "chart"},
          {"type", "line"},
          {"title", title},
          {"x", {{"title", "layer"}, {"unit", "layer"}}},
          {"y", {{"title", unit}, {"log", true}}},
          {"toggles", {"log-y"}},
          {"series", series},
          {"define", {metric_definition_index(key)}},
          {"note", note}};
}

}  // namespace

json loss_chart(const RunComparison& c) {
  json series = json::array();
  size_t window = 1;
  for (size_t i = 0; i < c.runs.size(); ++i) {
    Curve train, valid;
    for (const MetricRecord& p : c.runs[i].points) {
      if (!std::isnan(p.loss) || !train.empty()) train.emplace_back(static_cast<double>(p.tokens), p.loss);
    }
    for (const ValidationPoint& v : validations(c.runs[i])) {
      valid.emplace_back(static_cast<double>(v.tokens), v.loss);
    }
    const size_t own_window = std::max<size_t>(1, train.size() / 100) | 1;  // Odd: centred.
    window = std::max(window, own_window);
    const std::string& name = c.runs[i].name;
    // One entry of the legend a run: that of the validation, if there is one.
    if (!train.empty()) {
      series.push_back({{"run", i},
                        {"label", name + ", training"},
                        {"legend", valid.empty() ? name : ""},
                        {"faint", true},
                        {"points", points_of(smooth(train, own_window, kCurvePoints))}});
    }
    if (!valid.empty()) {
      series.push_back({{"run", i},
                        {"label", name + ", validation"},
                        {"legend", name},
                        {"dots", true},
                        {"points", points_of(smooth(valid, 1, kCurvePoints))}});
    }
  }
  const std::string smoothing =
      window > 1 ? fmt::format(" The training curve is a moving average over {} logged steps.", window) : "";
  return {{"kind", "chart"},
          {"type", "line"},
          {"wide", true},
          {"title", "Loss"},
          {"x", {{"title", "tokens trained"}, {"unit", "tokens"}}},
          {"y", {{"title", "nats per token"}}},
          {"toggles", {"log-x", "tail"}},
          {"series", series},
          {"note",
           "Thin lines: training. Marks: validation, on text that no run was trained on. Lower is better." +
               smoothing}};
}

json difference_chart(const RunComparison& c) {
  json series = json::array();
  for (size_t i = 0; i < c.pairings.size(); ++i) {
    const std::vector<PairedDifference>& steps = c.pairings[i].steps;
    if (steps.size() < 2) continue;
    json points = json::array(), errors = json::array();
    for (const size_t s : spread(steps.size(), kCurvePoints)) {
      points.push_back({steps[s].tokens, compact(steps[s].difference)});
      errors.push_back(compact(steps[s].standard_error));
    }
    series.push_back({{"run", i + 1},
                      {"label", c.runs[i + 1].name + " minus " + c.runs[0].name},
                      {"legend", c.runs[i + 1].name},
                      {"dots", true},
                      {"points", points},
                      {"errors", errors}});
  }
  if (series.empty()) return {};
  return {{"kind", "chart"},
          {"type", "line"},
          {"wide", true},
          {"title", "Difference in validation loss from " + c.runs[0].name + ", paired"},
          {"x", {{"title", "tokens trained"}, {"unit", "tokens"}}},
          {"y", {{"title", "nats per token"}, {"zero", true}}},
          {"toggles", {"log-x", "tail"}},
          {"series", series},
          {"note",
           "Below zero the run is better than " + c.runs[0].name +
               ". Bars: two standard errors over the validation sequences; a bar that crosses zero is within "
               "noise."}};
}

json variance_chart(const RunComparison& c) {
  return probe_chart(
      c, "Variance of the residual stream", "variance",
      "After each layer, at the last probe. A steep rise means that each further layer changes the "
      "stream by less and less, relative to what is there.",
      &MetricRecord::layer_variance, "variance");
}

json gradient_chart(const RunComparison& c) {
  return probe_chart(c, "Gradient norm", "norm", "Over all parameters of the layer, at the last probe.",
                     &MetricRecord::layer_grad_norm, "grad_norm");
}

json variance_map(const RunComparison& c) {
  json maps = json::array();
  for (size_t i = 0; i < c.runs.size(); ++i) {
    std::vector<const MetricRecord*> probes;
    for (const MetricRecord& p : c.runs[i].points) {
      if (!p.layer_variance.empty()) probes.push_back(&p);
    }
    if (probes.size() < 2) continue;
    json columns = json::array(), layers = json::array();
    json rows = json::array();
    const size_t L = probes.front()->layer_variance.size();
    for (size_t l = 0; l < L; ++l) {
      layers.push_back(l + 1);
      rows.push_back(json::array());
    }
    for (const size_t s : spread(probes.size(), kMapColumns)) {
      columns.push_back(count_text(static_cast<double>(probes[s]->tokens)));
      for (size_t l = 0; l < L; ++l) rows[l].push_back(compact(probes[s]->layer_variance[l]));
    }
    maps.push_back({{"run", i}, {"name", c.runs[i].name}, {"x", columns}, {"y", layers}, {"values", rows}});
  }
  if (maps.empty()) return {};
  return {{"kind", "heat"},
          {"wide", true},
          {"title", "Variance of each layer over training"},
          {"value", "variance"},
          {"log", true},
          {"x", {{"title", "tokens trained"}, {"ends", true}}},
          {"y", {{"title", "layer"}}},
          {"cell", "layer {y}, {x} tokens"},
          {"maps", maps},
          {"note",
           "Time runs to the right, depth downwards; all runs share one colour scale. One column a probe."}};
}

}  // namespace fathom
