#include "report/depth_maps.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/blocks.h"
#include "report/metric_definitions.h"

namespace fathom {
namespace {

using nlohmann::json;

json numbers_from(size_t first, size_t count) {
  json out = json::array();
  for (size_t i = 0; i < count; ++i) out.push_back(first + i);
  return out;
}

/// A map of `matrix` with rows and columns counted from `first_row` and `first_column`; `shown(row, column)`
/// says which cells there are.
template <class Shown>
json map_of(const ProbeRecord& probe, const LayerMatrix& matrix, size_t first_row, size_t first_column,
            double factor, const Shown& shown) {
  json rows = json::array();
  for (size_t r = 0; r < matrix.size(); ++r) {
    json row = json::array();
    for (size_t c = 0; c < probe.layers; ++c)
      row.push_back(c < matrix[r].size() && shown(r, c) ? compact(matrix[r][c] * factor) : json());
    rows.push_back(row);
  }
  return {{"run", probe.run},
          {"name", probe.name},
          {"x", numbers_from(first_column, probe.layers)},
          {"y", numbers_from(first_row, matrix.size())},
          {"values", rows}};
}

json heat(const char* title, const char* value, const char* suffix, bool log, const char* x_title,
          const char* y_title, const char* cell, json maps, std::string note, std::string_view key) {
  if (maps.empty()) return {};
  return {{"kind", "heat"},
          {"title", title},
          {"value", value},
          {"suffix", suffix},
          {"log", log},
          {"square", true},
          {"wide", maps.size() > 1},
          {"x", {{"title", x_title}}},
          {"y", {{"title", y_title}}},
          {"cell", cell},
          {"maps", std::move(maps)},
          {"note", std::move(note)},
          {"toggles", {"log"}},
          {"define", {metric_definition_index(key)}}};
}

}  // namespace

json angle_map(const std::vector<ProbeRecord>& probes, bool last_token) {
  json maps = json::array();
  for (const ProbeRecord& probe : probes) {
    const LayerMatrix& angles = last_token ? probe.angular_last : probe.angular_all;
    if (angles.empty()) continue;
    json map = map_of(probe, angles, 1, 0, 180, [](size_t, size_t) { return true; });
    json marks = json::array();
    for (size_t r = 0; r + 1 < angles.size(); ++r) {  // The last row has but one start.
      const auto least = std::min_element(angles[r].begin(), angles[r].end(), [](double a, double b) {
        return std::isnan(b) ? !std::isnan(a) : a < b;
      });
      if (std::isfinite(*least)) marks.push_back({least - angles[r].begin(), r});
    }
    map["marks"] = marks;
    maps.push_back(map);
  }
  json out =
      heat(last_token ? "Angle between layers, last token" : "Angle between layers, all tokens", "angle",
           "\u00b0", false, "start: stream after layer", "layers passed",
           "from layer {x} to {x+y}, {y} layers", std::move(maps),
           std::string("How far the stream turns from a start (across) over so many layers (upwards), ") +
               (last_token ? "at the last token of each sequence." : "mean over all tokens.") +
               " Dots: of all runs of that many layers, the one that turns the stream least: by this measure "
               "the run to cut.",
           "angular_matrix_all");
  if (!out.is_null()) out["y"]["up"] = true;
  return out;
}

json causal_map(const std::vector<ProbeRecord>& probes) {
  json maps = json::array();
  for (const ProbeRecord& probe : probes) {
    if (probe.causal.size() < 2) continue;
    maps.push_back(map_of(probe, probe.causal, 1, 1, 1, [](size_t s, size_t l) { return l > s; }));
  }
  return heat("What later layers make of earlier ones", "relative change", "", false, "later layer",
              "layer left out", "without layer {y}, layer {x} changes", std::move(maps),
              "Causal score: by how much a layer's own contribution changes (across) when an earlier layer "
              "is left out "
              "(downwards). Dark: the later layer does not depend on the earlier one.",
              "causal_score");
}

json permutation_map(const std::vector<ProbeRecord>& probes) {
  json maps = json::array();
  std::string note =
      "Permutation score: by how much the loss changes, relative, when two layers change places. Dark: their "
      "order does "
      "not matter.";
  for (const ProbeRecord& probe : probes) {
    if (probe.permutation.size() < 2) continue;
    maps.push_back(map_of(probe, probe.permutation, 1, 1, 1, [](size_t i, size_t j) { return i != j; }));
    if (probe.permutation_tokens > 0 && probe.permutation_tokens < probe.tokens)
      note += fmt::format(" {}: on {} of {} tokens.", probe.name, probe.permutation_tokens, probe.tokens);
  }
  return heat("Two layers swapped", "relative change of the loss", "", true, "layer", "layer",
              "layers {y} and {x} swapped", std::move(maps), note, "permutation_score");
}

}  // namespace fathom
