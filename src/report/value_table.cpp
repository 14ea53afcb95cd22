#include "report/value_table.h"

#include <algorithm>
#include <cmath>

#include "report/blocks.h"
#include "report/format.h"
#include "report/metric_definitions.h"

namespace fathom {

using nlohmann::json;

json value_table(const ProbeRecord& probe) {
  json head = json::array({"layer"}), right = json::array({true}), rows = json::array();
  if (!probe.original_layers.empty()) {
    head.push_back("original layer");
    right.push_back(true);
  }
  std::vector<const DepthValues*> columns;
  const auto add = [&](const std::string& key) {
    const DepthValues* values = probe.find(key);
    if (values == nullptr) return;
    columns.push_back(values);
    head.push_back(key);
    right.push_back(true);
  };
  for (const MetricDefinition& definition : metric_definitions()) {
    for (const auto& [key, values] : probe.metrics) {
      if (definition.defines(key)) add(key);
    }
  }
  for (const auto& [key, values] : probe.metrics) {
    const auto all = metric_definitions();
    if (std::none_of(all.begin(), all.end(), [&](const MetricDefinition& d) { return d.defines(key); }))
      add(key);
  }
  if (columns.empty()) return {};
  const bool embedding =
      std::any_of(columns.begin(), columns.end(), [](const auto* c) { return std::isfinite(c->value[0]); });
  for (size_t l = embedding ? 0 : 1; l <= probe.layers; ++l) {
    json cells = json::array({std::to_string(l)});
    if (!probe.original_layers.empty())
      cells.push_back(l == 0 ? "" : std::to_string(probe.original_layers[l - 1]));
    for (const DepthValues* column : columns) {
      std::string text = number_text(column->value[l], 4);
      if (!text.empty() && std::isfinite(column->error[l])) text += " +- " + number_text(column->error[l], 2);
      cells.push_back(typeset(text));
    }
    rows.push_back({{"cells", cells}});
  }
  return {{"kind", "table"}, {"head", head},
          {"right", right},  {"rows", rows},
          {"scroll", true},  {"fold", "All values of " + probe.name + ", with their standard errors"}};
}

}  // namespace fathom
