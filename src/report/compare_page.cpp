#include "report/compare_page.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "report/compare_charts.h"
#include "report/format.h"
#include "report/page.h"

namespace fathom {
namespace {

using nlohmann::json;

/// Terminal text with the typography of a page.
std::string typeset(std::string text) {
  for (const auto& [plain, nice] : {std::pair{" +- ", " \u00b1 "}, std::pair{" -> ", " \u2192 "}}) {
    for (size_t at = text.find(plain); at != std::string::npos; at = text.find(plain))
      text.replace(at, 4, nice);
  }
  return text;
}

/// "a", "a and b", "a, b and c".
std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size(); ++i)
    out += (i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + names[i];
  return out;
}

class PageBuilder {
 public:
  explicit PageBuilder(const RunComparison& comparison) : c_(comparison) {}

  json build() const {
    json sections = json::array();
    for (json section : {summary(), training(), layers(), removal(), settings(), meaning(), limits()}) {
      if (!section["blocks"].empty()) sections.push_back(std::move(section));
    }
    return {{"title", title()},
            {"subtitle", subtitle()},
            {"footer",
             "Made by fathom compare. Everything on this page is inside this one file; nothing is fetched."},
            {"sections", std::move(sections)}};
  }

 private:
  std::string title() const {
    std::vector<std::string> names;
    for (const RunRecord& run : c_.runs) names.push_back(run.name);
    if (names.size() > 4) return fmt::format("{} runs, side by side", names.size());
    return joined(names) + (names.size() > 1 ? ", side by side" : "");
  }

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
    std::string out;
    for (const auto* texts : {&parameters, &tokens, &started}) {
      if (texts->size() == 1) out += (out.empty() ? "" : " \u00b7 ") + *texts->begin();
    }
    return out;
  }

  json summary() const {
    const Table table = summary_table(c_);
    json head = json::array(), right = json::array(), rows = json::array();
    for (const TableColumn& column : table.columns()) {
      head.push_back(typeset(column.head));
      right.push_back(column.align == Align::kRight);
    }
    for (size_t i = 0; i < table.rows(); ++i) {
      json cells = json::array();
      for (const std::string& cell : table.row(i)) cells.push_back(cell == "-" ? "" : typeset(cell));
      rows.push_back({{"run", i}, {"cells", cells}});
    }
    json blocks = json::array();
    blocks.push_back({{"kind", "table"}, {"head", head}, {"right", right}, {"rows", rows}});
    json items = json::array();
    for (const std::string& finding : findings(c_)) items.push_back(typeset(finding));
    if (!items.empty()) blocks.push_back({{"kind", "findings"}, {"items", items}});
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

  json removal() const {
    json blocks = json::array();
    if (std::any_of(c_.runs.begin(), c_.runs.end(),
                    [](const RunRecord& run) { return run.sweep.has_value(); })) {
      blocks = json::array({removal_chart(c_), depth_meters(c_)});
    }
    return {{"title", "Which layers carry weight"},
            {"intro", missing("No removal sweep yet for ", [](const RunRecord& run) { return !run.sweep; })},
            {"blocks", blocks.empty()
                           ? words("No run has a removal sweep: fathom prune RUN --text FILE --sweep --json "
                                   "RUN/sweep.json makes one.")
                           : blocks}};
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

  json meaning() const {
    json items = json::array();
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
    add("Cost of removing a layer",
        "How much the loss rises when the layer is skipped and all others stay as they are. Near zero: the "
        "model hardly uses the layer.");
    add("Effective depth", "How many layers would carry the same weight if all mattered alike.");
    return {{"title", "What the numbers mean"},
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
    items.push_back(
        "The standard errors cover the choice of validation text. They do not cover the luck of the seed: "
        "the same "
        "run with another seed would end elsewhere, and by how much only more runs can tell.");
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

  static json words(const std::string& text) {
    return json::array({{{"kind", "findings"}, {"items", json::array({text})}}});
  }

  const RunComparison& c_;
};

}  // namespace

std::string comparison_page(const RunComparison& comparison) {
  return render_page(PageBuilder(comparison).build());
}

}  // namespace fathom
