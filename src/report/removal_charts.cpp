#include "report/removal_charts.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>

#include "report/blocks.h"
#include "report/metric_definitions.h"

namespace fathom {
namespace {

using nlohmann::json;

std::string what_suffix(const std::string& what) {
  return what == "attn"    ? ", attention alone"
         : what == "mlp"   ? ", MLP alone"
         : what == "layer" ? ""
                           : ", " + what;
}

bool counts_differ(const std::vector<Removals>& removals) {
  return std::any_of(removals.begin(), removals.end(),
                     [&](const Removals& r) { return r.layers != removals.front().layers; });
}

json chart(const char* title, const char* x_title, bool bars, bool relative, json series, const char* note) {
  json toggles = json::array({"log-y"});
  if (relative) toggles.push_back("relative");
  return {{"kind", "chart"},
          {"type", bars ? "bar" : "line"},
          {"wide", true},
          {"title", title},
          {"x", {{"title", x_title}, {"unit", "layer"}, {"relative", relative}}},
          {"y", {{"title", "added nats per token"}, {"zero", true}}},
          {"toggles", toggles},
          {"define", {metric_definition_index("delta_loss")}},
          {"series", std::move(series)},
          {"note", note}};
}

}  // namespace

json removal_chart(const std::vector<Removals>& removals) {
  json series = json::array();
  const bool alone = std::all_of(removals.begin(), removals.end(),
                                 [&](const Removals& r) { return r.run == removals.front().run; });
  for (const Removals& r : removals) {
    if (r.removed.empty()) continue;
    json points = json::array(), errors = json::array();
    for (const RemovalRecord& removal : r.removed) {
      points.push_back({removal.layer, compact(removal.delta_loss)});
      errors.push_back(compact(removal.delta_loss_stderr));
    }
    series.push_back({{"run", r.run},
                      {"label", r.name + what_suffix(r.what)},
                      {"layers", r.layers},
                      {"dash", r.what != "layer" && !alone},
                      {"dots", true},
                      {"points", points},
                      {"errors", errors}});
    // The kinds of removal of a single model have colours of their own.
    if (alone) series.back()["colour"] = r.run + series.size() - 1;
  }
  if (series.empty()) return {};
  // Bars of more than three series are too thin to tell apart on a phone.
  const bool relative = counts_differ(removals), bars = series.size() <= 3 && !relative;
  return chart("What removing a layer costs", "layer removed", bars, relative, std::move(series),
               "Loss without the layer minus the loss of the whole model. Bars of two standard errors, where "
               "there are any. On the log axis, layers whose removal does not hurt are not drawn.");
}

json block_removal_chart(const std::vector<Removals>& removals) {
  json series = json::array();
  for (const Removals& r : removals) {
    std::map<size_t, std::vector<const BlockRemovalRecord*>> by_length;
    for (const BlockRemovalRecord& block : r.blocks) by_length[block.layers.size()].push_back(&block);
    for (const auto& [length, blocks] : by_length) {
      json points = json::array(), errors = json::array();
      for (const BlockRemovalRecord* block : blocks) {
        points.push_back({block->layers.front(), compact(block->delta_loss)});
        errors.push_back(compact(block->delta_loss_stderr));
      }
      series.push_back({{"run", r.run},
                        {"label", fmt::format("{}, {} layers{}", r.name, length, what_suffix(r.what))},
                        {"layers", r.layers},
                        {"dots", true},
                        {"points", points},
                        {"errors", errors}});
    }
  }
  if (series.empty()) return {};
  return chart(
      "What removing a run of layers costs", "first layer removed", false, counts_differ(removals),
      std::move(series),
      "Loss without the layers, together, minus the loss of the whole model. Bars: two standard errors.");
}

json depth_meters(const std::vector<Removals>& removals) {
  json items = json::array();
  for (const Removals& r : removals) {
    if (r.what != "layer" || r.removed.empty()) continue;
    items.push_back({{"run", r.run},
                     {"name", r.name},
                     {"share", std::isnan(r.effective_depth) ? 0.0 : r.effective_depth_ratio},
                     {"text", typeset(effective_depth_text(r))}});
  }
  if (items.empty()) return {};
  return {{"kind", "meters"},
          {"wide", true},
          {"title", "Effective depth"},
          {"define", {metric_definition_index("effective_depth")}},
          {"items", items},
          {"note",
           "How many layers would carry the same weight if all mattered alike: the full number when they do, "
           "1 when a "
           "single layer does all. Its standard error takes the costs of the layers as independent. Costs "
           "below zero count "
           "as none, so that where many lie within their noise of zero the depth comes out too large."}};
}

}  // namespace fathom
