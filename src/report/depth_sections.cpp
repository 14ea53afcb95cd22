#include "report/depth_sections.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "report/accuracy_blocks.h"
#include "report/blocks.h"
#include "report/depth_charts.h"
#include "report/depth_maps.h"
#include "report/format.h"
#include "report/metric_definitions.h"
#include "report/removal_charts.h"
#include "report/value_table.h"

namespace fathom {
namespace {

using nlohmann::json;

json section(const char* title, const char* intro, json blocks) {
  return {{"title", title}, {"intro", intro}, {"blocks", std::move(blocks)}};
}

/// Those of `blocks` that are not null.
json present(std::initializer_list<json> blocks) {
  json out = json::array();
  for (const json& block : blocks) {
    if (!block.is_null()) out.push_back(block);
  }
  return out;
}

std::vector<const Removals*> of_model(const std::vector<Removals>& all, size_t run) {
  std::vector<const Removals*> out;
  for (const Removals& r : all) {
    if (r.run == run) out.push_back(&r);
  }
  return out;
}

/// The layers that turn the stream least: all that can be said of a cut that was not priced.
std::string angle_sentence(const ProbeRecord& probe) {
  const DepthValues* angle = probe.find("angular_distance");
  if (angle == nullptr) return {};
  size_t least = 0;
  for (size_t l = 1; l <= probe.layers; ++l) {
    if (std::isfinite(angle->value[l]) && (least == 0 || angle->value[l] < angle->value[least])) least = l;
  }
  return fmt::format(
      "Layer {} turns the stream least, by {:.1f} degrees. What removing layers costs was not measured.",
      least, 180 * angle->value[least]);
}

std::string removal_intro(const RunComparison& c, const std::vector<Removals>& removals) {
  std::vector<std::string> without;
  for (const RunRecord& run : c.runs) {
    if (!run.sweep && (!run.probe || run.probe->find("delta_loss") == nullptr)) without.push_back(run.name);
  }
  for (const ProbeRecord& probe : c.probes) {
    if (!c.is_run(probe.run) && of_model(removals, probe.run).empty()) without.push_back(probe.name);
  }
  return without.empty() || removals.empty() ? std::string()
                                             : "No removal sweep yet for " + joined(without) + ".";
}

json removal_section(const RunComparison& c) {
  const std::vector<Removals> removals = removals_of(c);
  json blocks = present({removal_chart(removals), block_removal_chart(removals), depth_meters(removals)});
  for (json& chart : accuracy_charts(removals)) blocks.push_back(std::move(chart));
  for (json& table : accuracy_tables(removals)) blocks.push_back(std::move(table));
  if (blocks.empty()) {
    blocks.push_back(findings_block(
        {c.runs.empty()
             ? "Removal was not measured: fathom prune MODEL --text FILE --sweep --json sweep.json does it, "
               "and fathom compare takes the file beside that of the diagnosis."
             : "No run has a removal sweep: fathom prune RUN --text FILE --sweep makes one."}));
  }
  return {{"title", "Which layers carry weight"}, {"intro", removal_intro(c, removals)}, {"blocks", blocks}};
}

json value_tables(const Probes& probes) {
  json out = json::array();
  for (const ProbeRecord& probe : probes) {
    json table = value_table(probe);
    if (!table.is_null()) out.push_back(std::move(table));
  }
  return out;
}

/// "usefulness (too few tokens), identity_deviation" of one diagnosis; "" where nothing is missing.
std::string missing_sentence(const ProbeRecord& probe) {
  if (probe.metrics.empty()) return {};  // A sweep alone: its page says what it is.
  std::string list;
  for (const std::string& key : missing_metrics(probe)) {
    list += (list.empty() ? "" : ", ") + key;
    const std::string reason = key == "usefulness"  ? probe.usefulness_reason
                               : key == "grad_norm" ? probe.grad_norm_reason
                                                    : std::string();
    if (!reason.empty()) list += " (" + reason + ")";
  }
  if (list.empty()) return {};
  return fmt::format("Not in this diagnosis of {}: {}.", probe.name, list);
}

std::string gaps_sentence(const ProbeRecord& probe) {
  std::string list;
  for (const auto& [key, values] : probe.metrics) {
    const size_t missing = values.missing();
    if (missing == 0 || missing == probe.layers) continue;
    list += fmt::format("{}{} ({} layer{})", list.empty() ? "" : ", ", key, missing, missing == 1 ? "" : "s");
  }
  if (list.empty()) return {};
  return fmt::format("Gaps in the curves of {}: no finite value for {}.", probe.name, list);
}

}  // namespace

json headline_block(const RunComparison& c) {
  const std::vector<Removals> removals = removals_of(c);
  json items = json::array();
  const auto add = [&](size_t run, const std::string& name, const std::vector<std::string>& sentences) {
    if (sentences.empty()) return;
    json more = json::array();
    for (size_t i = 1; i < sentences.size(); ++i) more.push_back(typeset(sentences[i]));
    items.push_back({{"run", run},
                     {"name", c.models() > 1 ? name : ""},
                     {"lead", typeset(sentences[0])},
                     {"more", more}});
  };
  for (size_t run = 0; run < c.models(); ++run) {
    std::vector<std::string> sentences;
    std::string name = c.is_run(run) ? c.runs[run].name : "";
    for (const Removals* r : of_model(removals, run)) {
      name = r->name;
      for (std::string& sentence : removal_headline(*r)) sentences.push_back(std::move(sentence));
    }
    for (const ProbeRecord& probe : c.probes) {
      if (probe.run != run || !sentences.empty()) continue;
      name = probe.name;
      if (std::string sentence = angle_sentence(probe); !sentence.empty())
        sentences.push_back(std::move(sentence));
    }
    add(run, name, sentences);
  }
  if (items.empty()) return {};
  return {{"kind", "headline"}, {"items", items}};
}

std::vector<std::string> diagnosis_sentences(const RunComparison& c) {
  std::vector<std::string> out;
  for (const ProbeRecord& probe : c.probes) {
    const std::string who = c.models() > 1 ? probe.name + ": " : "";
    for (const std::string& sentence : probe.summary) out.push_back(who + sentence);
  }
  for (const ProbeRecord& probe : c.probes) {
    for (std::string sentence : {missing_sentence(probe), gaps_sentence(probe)}) {
      if (!sentence.empty()) out.push_back(std::move(sentence));
    }
    if (!probe.original_layers.empty())
      out.push_back(probe.name +
                    " is a pruned model: layers are counted as they stand in it; the table of all values "
                    "has their original numbers.");
  }
  return out;
}

std::vector<json> depth_sections(const RunComparison& c) {
  const Probes& p = c.probes;
  std::vector<json> all{removal_section(c)};
  all.push_back(section(
      "How the stream grows",
      "Each layer adds to a shared stream. Where it grows from layer to layer, later layers change it "
      "less and less, relative to its size.",
      stream_charts(p)));
  all.push_back(section("How much each layer changes the stream", "", change_charts(p)));
  all.push_back(section("What kind of map each layer is", "", function_charts(p)));
  all.push_back(section("How far apart layers are", "", present({angle_map(p, false), angle_map(p, true)})));
  all.push_back(
      section("How layers depend on one another", "", present({causal_map(p), permutation_map(p)})));
  all.push_back(section("What the model would say if it stopped", "", lens_charts(p)));
  all.push_back(section("Other values", "", other_charts(p)));
  all.push_back(section("All values", "", value_tables(p)));
  std::erase_if(all, [](const json& s) { return s["blocks"].empty(); });
  return all;
}

json definitions_json() {
  json out = json::array();
  for (const MetricDefinition& d : metric_definitions()) {
    out.push_back(
        {{"keys", d.keys}, {"term", d.name}, {"formula", d.formula}, {"text", d.text}, {"source", d.source}});
  }
  return out;
}

}  // namespace fathom
