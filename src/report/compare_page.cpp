#include "report/compare_page.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "report/blocks.h"
#include "report/compare_charts.h"
#include "report/compare_results.h"
#include "report/depth_sections.h"
#include "report/format.h"
#include "report/page.h"

namespace fathom {
namespace {

using nlohmann::json;

class PageBuilder {
 public:
  explicit PageBuilder(const RunComparison& comparison) : c_(comparison) {}

  json build() const {
    std::vector<json> all{summary()};
    if (!c_.runs.empty()) {
      all.push_back(training());
      all.push_back(layers());
    }
    for (json& section : depth_sections(c_)) all.push_back(std::move(section));
    all.push_back(settings());
    if (refers_to_definitions(all)) all.push_back(definitions());
    all.push_back(meaning());
    all.push_back(limits());
    std::erase_if(all, [](const json& section) { return section["blocks"].empty(); });
    return {{"title", title()},
            {"subtitle", subtitle()},
            {"footer",
             fmt::format(
                 "Made by fathom {}. Everything on this page is inside this one file; nothing is fetched.",
                 c_.models() > 1 || !c_.runs.empty() ? "compare" : "probe")},
            {"definitions", definitions_json()},
            {"sections", std::move(all)}};
  }

 private:
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const RunRecord& run : c_.runs) out.push_back(run.name);
    for (const ProbeRecord& probe : c_.probes) {
      if (!c_.is_run(probe.run)) out.push_back(probe.name);
    }
    return out;
  }

  std::string title() const {
    const std::vector<std::string> all = names();
    if (all.size() > 4) return fmt::format("{} models, side by side", all.size());
    return joined(all) + (all.size() > 1 ? ", side by side" : "");
  }

  /// What all runs, or all diagnoses, have in common.
  std::string subtitle() const {
    std::set<std::string> parameters, tokens, started;
    for (size_t i = 0; i < c_.runs.size(); ++i) {
      const std::string size = count_text(c_.runs[i].parameters);
      if (!size.empty()) parameters.insert(size + " parameters");
      tokens.insert(count_text(static_cast<double>(c_.summaries[i].tokens)) + " tokens");
      for (const auto& [key, value] : c_.runs[i].settings) {
        if (key == "started") started.insert("trained " + value.substr(0, 10));
      }
    }
    std::set<std::string> layers, text, windows, dtype;
    for (const ProbeRecord& probe : c_.probes) {
      layers.insert(fmt::format("{} layers", probe.layers));
      if (probe.tokens > 0)
        text.insert(fmt::format("diagnosed on {} tokens", count_text(static_cast<double>(probe.tokens))));
      if (probe.sequences > 0) windows.insert(fmt::format("{} sequences", probe.sequences));
      if (!probe.dtype.empty()) dtype.insert(probe.dtype);
    }
    std::string out;
    for (const auto* texts : {&parameters, &tokens, &started, &layers, &text, &windows, &dtype}) {
      if (texts->size() == 1) out += (out.empty() ? "" : " \u00b7 ") + *texts->begin();
    }
    return out;
  }

  json summary() const {
    json blocks = json::array();
    if (json headline = headline_block(c_); !headline.is_null()) blocks.push_back(std::move(headline));
    std::vector<size_t> places(c_.runs.size());
    std::iota(places.begin(), places.end(), size_t{0});
    if (!c_.runs.empty()) blocks.push_back(table_block(summary_table(c_), places));
    places.clear();
    for (const ProbeRecord& probe : c_.probes) places.push_back(probe.run);
    if (!c_.probes.empty()) blocks.push_back(table_block(probe_table(c_), places));
    std::vector<std::string> sentences = findings(c_);
    for (std::string& sentence : diagnosis_sentences(c_)) sentences.push_back(std::move(sentence));
    if (!sentences.empty()) blocks.push_back(findings_block(sentences));
    return {{"title", ""}, {"blocks", blocks}};
  }

  json training() const {
    json blocks = json::array({loss_chart(c_)});
    if (json difference = difference_chart(c_); !difference.is_null())
      blocks.push_back(std::move(difference));
    return {{"title", "Training"}, {"blocks", blocks}};
  }

  json layers() const {
    json blocks = json::array();
    json variance = variance_chart(c_), gradient = gradient_chart(c_), map = variance_map(c_);
    for (json* block : {&variance, &gradient, &map}) {
      if (!block->is_null()) blocks.push_back(std::move(*block));
    }
    return {{"title", "Layer by layer"},
            {"intro", missing("No probe was logged by ",
                              [](const RunRecord& run) {
                                return std::none_of(
                                    run.points.begin(), run.points.end(),
                                    [](const MetricRecord& p) { return !p.layer_variance.empty(); });
                              })},
            {"blocks", blocks.empty() ? words("No run has been probed: train with --probe-every.") : blocks}};
  }

  json settings() const {
    std::vector<std::string> keys;
    for (const RunRecord& run : c_.runs) {
      for (const auto& [key, value] : run.settings) {
        if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
      }
    }
    json head = json::array({"setting"});
    for (const RunRecord& run : c_.runs) head.push_back(run.name);
    json differing = json::array(), shared = json::array();
    for (const std::string& key : keys) {
      json cells = json::array({key});
      std::set<std::string> values;
      for (const RunRecord& run : c_.runs) {
        const auto it = std::find_if(run.settings.begin(), run.settings.end(),
                                     [&](const auto& setting) { return setting.first == key; });
        cells.push_back(it == run.settings.end() ? "" : it->second);
        values.insert(cells.back().get<std::string>());
      }
      if (values.size() > 1) {
        differing.push_back({{"cells", cells}});
      } else {
        shared.push_back({{"cells", {key, *values.begin()}}});
      }
    }
    json blocks = json::array();
    if (!differing.empty()) blocks.push_back({{"kind", "table"}, {"head", head}, {"rows", differing}});
    if (!shared.empty()) {
      blocks.push_back(
          {{"kind", "table"},
           {"head", {"setting", "value"}},
           {"rows", shared},
           {"fold", c_.runs.size() > 1 ? fmt::format("{} settings are the same in all runs", shared.size())
                                       : std::string("All settings")}});
    }
    return {{"title", "Settings"},
            {"intro", differing.empty() ? "" : "What differs between the runs."},
            {"blocks", blocks}};
  }

  static bool refers_to_definitions(const std::vector<json>& sections) {
    return std::any_of(sections.begin(), sections.end(), [](const json& section) {
      return std::any_of(section["blocks"].begin(), section["blocks"].end(),
                         [](const json& block) { return block.contains("define"); });
    });
  }

  static json definitions() {
    return {{"title", "What the numbers mean"},
            {"intro",
             "h_l is the residual stream after layer l, h_0 the embedding; a_l and m_l are what attention "
             "and MLP add; "
             "E_t is the mean over tokens, T their number, d the hidden size. All values are of the raw "
             "stream, before the "
             "final norm."},
            {"blocks", json::array({{{"kind", "definitions"}}})}};
  }

  json meaning() const {
    json items = json::array();
    if (c_.runs.empty()) return {{"blocks", items}};
    const auto add = [&](const char* term, const char* text) {
      items.push_back({{"term", term}, {"text", text}});
    };
    add("Validation perplexity",
        "exp of the mean loss per token on held-out text: between how many equally likely tokens the model "
        "hesitates. Lower is better. The standard error is over validation sequences.");
    if (c_.runs.size() > 1) {
      add("Paired difference",
          "Both runs are scored on the same sequences, and the difference is taken sequence by sequence. "
          "What is "
          "hard for one is hard for the other, so that the difference is known better than either loss. "
          "Within "
          "two standard errors of zero we call it within noise.");
    }
    add("Variance of the residual stream",
        "Each layer adds to a shared stream. Where the variance of the stream grows from layer to layer, "
        "later "
        "layers change it less and less, relative to its size, and come close to doing nothing (the curse of "
        "depth, Sun et al. 2025, arXiv 2502.05795).");
    return {{"title", "What the curves of training mean"},
            {"blocks", json::array({{{"kind", "prose"}, {"items", items}}})}};
  }

  /// How much each run was trained for its size, one sentence for the runs alike.
  json budgets() const {
    std::vector<std::pair<std::string, std::vector<std::string>>> groups;  // What they saw, and who they are.
    for (size_t i = 0; i < c_.runs.size(); ++i) {
      const double parameters = c_.runs[i].parameters;
      const auto tokens = static_cast<double>(c_.summaries[i].tokens);
      if (!(parameters > 0)) continue;
      const std::string text = fmt::format("{} tokens, {} for each of the {} parameters", count_text(tokens),
                                           number_text(tokens / parameters, 2), count_text(parameters));
      auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == text; });
      if (group == groups.end()) group = groups.insert(groups.end(), {text, {}});
      group->second.push_back(c_.runs[i].name);
    }
    json items = json::array();
    for (const auto& [text, names] : groups) {
      items.push_back(
          fmt::format("{} saw {}, where about 20 are usual (Hoffmann et al. 2022). A difference early in "
                      "training may shrink, grow or turn.",
                      joined(names), text));
    }
    return items;
  }

  json limits() const {
    json items = budgets();
    if (c_.runs.empty()) {
      items.push_back(
          "The standard errors are over the sequences of this text: another kind of text, such as code or "
          "another "
          "language, may need other layers.");
      items.push_back(
          "The price of a layer is that of removing it alone. Several layers together mostly cost more than "
          "the sum of "
          "their prices: price a cut as a whole (fathom prune --drop) before it is made.");
    } else {
      items.push_back(
          "The standard errors cover the choice of validation text. They do not cover the luck of the seed: "
          "the same "
          "run with another seed would end elsewhere, and by how much only more runs can tell.");
    }
    items.push_back("What holds at this size does not have to hold for a larger model or other text.");
    return {{"title", "What they can't show"},
            {"blocks", json::array({{{"kind", "findings"}, {"items", items}}})}};
  }

  /// "No probe was logged by a and b." for those that `lacks` is true of, where others do have it.
  template <class Predicate>
  std::string missing(const std::string& words, Predicate lacks) const {
    std::vector<std::string> names;
    for (const RunRecord& run : c_.runs) {
      if (lacks(run)) names.push_back(run.name);
    }
    return names.empty() || names.size() == c_.runs.size() ? std::string() : words + joined(names) + ".";
  }

  static json words(const std::string& text) { return json::array({findings_block({text})}); }

  const RunComparison& c_;
};

}  // namespace

std::string comparison_page(const RunComparison& comparison) {
  return render_page(PageBuilder(comparison).build());
}

}  // namespace fathom
