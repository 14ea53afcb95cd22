#include "report/sweep_record.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/json_fields.h"

namespace fathom {
namespace {

void read_removal(const JsonFields& removal, SweepRecord& sweep) {
  std::vector<uint64_t> layers = removal.wholes("layers");
  if (layers.empty()) removal.refuse("'layers' is empty");
  std::sort(layers.begin(), layers.end());
  if (layers.front() == 0) removal.refuse("'layers' has a layer 0; layers count from 1");
  const double delta = removal.number("delta_loss"), error = removal.number("delta_loss_stderr");
  if (layers.size() == 1) {
    sweep.removed.push_back({.layer = layers[0],
                             .loss = removal.number("loss"),
                             .delta_loss = delta,
                             .delta_loss_stderr = error});
  } else {
    sweep.blocks.push_back({.layers = std::move(layers), .delta_loss = delta, .delta_loss_stderr = error});
  }
}

}  // namespace

SweepRecord read_sweep(const nlohmann::json& object, const std::filesystem::path& origin) {
  const JsonFields fields(object, origin);
  SweepRecord sweep{.model = fields.text("model"),
                    .what = object.contains("what") ? fields.text("what") : "layer",
                    .tokens = object.contains("tokens") ? fields.whole("tokens") : 0,
                    .loss = fields.number("loss"),
                    .perplexity = fields.number("perplexity"),
                    .removed = {},
                    .blocks = {},
                    .effective_depth = fields.number("effective_depth"),
                    .effective_depth_ratio = fields.number("effective_depth_ratio")};
  for (const nlohmann::json& item : fields.list("removed")) read_removal(JsonFields(item, origin), sweep);
  if (sweep.removed.empty() && sweep.blocks.empty()) fields.refuse("'removed' is empty");
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
