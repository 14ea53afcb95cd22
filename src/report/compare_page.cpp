#include "report/compare_page.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "report/curves.h"
#include "report/format.h"
#include "report/page.h"

namespace fathom {
namespace {

using nlohmann::json;

constexpr size_t kCurvePoints = 1000;  // About one a pixel.
constexpr size_t kMapColumns = 80;

/// Six digits, which is more than a chart shows and a third of what a double takes in text; null for NaN and
/// infinity.
json compact(double value) {
  if (!std::isfinite(value)) return {};
  const std::string text = fmt::format("{:.6g}", value);
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// Terminal text with the typography of a page.
std::string typeset(std::string text) {
  for (const auto& [plain, nice] : {std::pair{" +- ", " \u00b1 "}, std::pair{" -> ", " \u2192 "}}) {
    for (size_t at = text.find(plain); at != std::string::npos; at = text.find(plain))
      text.replace(at, 4, nice);
  }
  return text;
}

json points_of(const Curve& curve) {
  json out = json::array();
  for (const auto& [x, y] : curve) out.push_back({compact(x), compact(y)});
  return out;
}

/// (layer, value) for layers 1 to L.
Curve by_layer(const std::vector<double>& values) {
  Curve out;
  for (size_t i = 0; i < values.size(); ++i) out.emplace_back(static_cast<double>(i + 1), values[i]);
  return out;
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
  explicit PageBuilder(const Comparison& comparison) : c_(comparison) {}

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
    for (const Run& run : c_.runs) names.push_back(run.name);
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
    for (const Column& column : table.columns()) {
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

  json loss_chart() const {
    json series = json::array();
    size_t window = 1;
    for (size_t i = 0; i < c_.runs.size(); ++i) {
      Curve train, valid;
      for (const MetricPoint& p : c_.runs[i].points) {
        if (!std::isnan(p.loss) || !train.empty()) train.emplace_back(static_cast<double>(p.tokens), p.loss);
      }
      for (const Validation& v : validations(c_.runs[i]))
        valid.emplace_back(static_cast<double>(v.tokens), v.loss);
      const size_t own_window = std::max<size_t>(1, train.size() / 100) | 1;  // Odd: centred.
      window = std::max(window, own_window);
      const std::string& name = c_.runs[i].name;
      if (!train.empty()) {
        series.push_back({{"run", i},
                          {"label", name + ", training"},
                          {"faint", true},
                          {"points", points_of(smooth(train, own_window, kCurvePoints))}});
      }
      if (!valid.empty()) {
        series.push_back({{"run", i},
                          {"label", name + ", validation"},
                          {"dots", true},
                          {"points", points_of(smooth(valid, 1, kCurvePoints))}});
      }
    }
    const std::string smoothing =
        window > 1 ? fmt::format(" The training curve is a moving average over {} logged steps.", window)
                   : "";
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

  /// The paired differences over training; null where no pair was evaluated twice.
  json difference_chart() const {
    json series = json::array();
    for (size_t i = 0; i < c_.pairings.size(); ++i) {
      const std::vector<PairedDifference>& steps = c_.pairings[i].steps;
      if (steps.size() < 2) continue;
      json points = json::array(), errors = json::array();
      for (const size_t s : spread(steps.size(), kCurvePoints)) {
        points.push_back({steps[s].tokens, compact(steps[s].difference)});
        errors.push_back(compact(steps[s].standard_error));
      }
      series.push_back({{"run", i + 1},
                        {"label", c_.runs[i + 1].name + " minus " + c_.runs[0].name},
                        {"dots", true},
                        {"points", points},
                        {"errors", errors}});
    }
    if (series.empty()) return {};
    return {
        {"kind", "chart"},
        {"type", "line"},
        {"wide", true},
        {"title", "Difference in validation loss, paired"},
        {"x", {{"title", "tokens trained"}, {"unit", "tokens"}}},
        {"y", {{"title", "nats per token"}, {"zero", true}}},
        {"toggles", {"log-x", "tail"}},
        {"series", series},
        {"note",
         "Below zero the run is better than " + c_.runs[0].name +
             ". Bars: two standard errors over the validation sequences; a bar that crosses zero is within "
             "noise."}};
  }

  json training() const {
    json blocks = json::array({loss_chart()});
    if (json difference = difference_chart(); !difference.is_null()) blocks.push_back(std::move(difference));
    return {{"title", "Training"}, {"blocks", blocks}};
  }

  /// The last probe of each run, one series a run; null where no run was probed.
  json probe_chart(const std::string& title, const std::string& unit, const std::string& note,
                   std::vector<double> MetricPoint::*values) const {
    json series = json::array();
    for (size_t i = 0; i < c_.runs.size(); ++i) {
      const auto& points = c_.runs[i].points;
      const auto last = std::find_if(points.rbegin(), points.rend(),
                                     [&](const MetricPoint& p) { return !(p.*values).empty(); });
      if (last == points.rend()) continue;
      series.push_back({{"run", i},
                        {"label", c_.runs[i].name},
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
            {"note", note}};
  }

  json variance_map() const {
    json maps = json::array();
    for (size_t i = 0; i < c_.runs.size(); ++i) {
      std::vector<const MetricPoint*> probes;
      for (const MetricPoint& p : c_.runs[i].points) {
        if (!p.layer_variance.empty()) probes.push_back(&p);
      }
      if (probes.size() < 2) continue;
      json columns = json::array();
      for (const size_t s : spread(probes.size(), kMapColumns)) {
        json values = json::array();
        for (const double v : probes[s]->layer_variance) values.push_back(compact(v));
        columns.push_back({{"tokens", probes[s]->tokens}, {"values", values}});
      }
      maps.push_back({{"run", i}, {"name", c_.runs[i].name}, {"columns", columns}});
    }
    if (maps.empty()) return {};
    return {
        {"kind", "heat"},
        {"wide", true},
        {"title", "Variance of each layer over training"},
        {"value", "variance"},
        {"maps", maps},
        {"note",
         "Time runs to the right, depth downwards; all runs share one colour scale. One column a probe."}};
  }

  json layers() const {
    json blocks = json::array();
    json variance =
        probe_chart("Variance of the residual stream", "variance",
                    "After each layer, at the last probe. A steep rise means that each further layer changes "
                    "the stream by less and less, relative to what is there.",
                    &MetricPoint::layer_variance);
    json gradient =
        probe_chart("Gradient norm", "norm", "Over all parameters of the layer, at the last probe.",
                    &MetricPoint::layer_grad_norm);
    json map = variance_map();
    for (json* block : {&variance, &gradient, &map}) {
      if (!block->is_null()) blocks.push_back(std::move(*block));
    }
    return {{"title", "Layer by layer"},
            {"intro", missing("No probe was logged by ",
                              [](const Run& run) {
                                return std::none_of(
                                    run.points.begin(), run.points.end(),
                                    [](const MetricPoint& p) { return !p.layer_variance.empty(); });
                              })},
            {"blocks", blocks.empty() ? words("No run has been probed: train with --probe-every.") : blocks}};
  }

  json removal_chart() const {
    json series = json::array();
    for (size_t i = 0; i < c_.runs.size(); ++i) {
      if (!c_.runs[i].sweep) continue;
      json points = json::array(), errors = json::array();
      for (const Removal& r : c_.runs[i].sweep->removed) {
        points.push_back({r.layer, compact(r.delta_loss)});
        errors.push_back(compact(r.delta_loss_stderr));
      }
      series.push_back(
          {{"run", i}, {"label", c_.runs[i].name}, {"dots", true}, {"points", points}, {"errors", errors}});
    }
    // Bars of more than three runs are too thin to tell apart on a phone.
    return {
        {"kind", "chart"},
        {"type", series.size() <= 3 ? "bar" : "line"},
        {"wide", true},
        {"title", "What removing a layer costs"},
        {"x", {{"title", "layer removed"}, {"unit", "layer"}}},
        {"y", {{"title", "added nats per token"}, {"zero", true}}},
        {"toggles", {"log-y"}},
        {"series", series},
        {"note",
         "Loss without the layer minus the loss of the whole model. Bars of two standard errors, where the "
         "sweep has them. On the log axis, layers whose removal does not hurt are not drawn."}};
  }

  json depth_meters() const {
    json items = json::array();
    for (size_t i = 0; i < c_.runs.size(); ++i) {
      const Summary& s = c_.summaries[i];
      if (!c_.runs[i].sweep) continue;
      const bool none = std::isnan(s.effective_depth);
      items.push_back({{"run", i},
                       {"name", c_.runs[i].name},
                       {"share", none ? 0.0 : s.effective_depth_ratio},
                       {"text", none ? "no removal hurts"
                                     : fmt::format("{:.1f} of {} layers", s.effective_depth, s.layers)}});
      if (!items.back()["share"].is_number() || std::isnan(items.back()["share"].get<double>())) {
        items.back()["share"] = 0;
      }
    }
    return {
        {"kind", "meters"},
        {"wide", true},
        {"title", "Effective depth"},
        {"items", items},
        {"note",
         "(sum d)\u00b2 / sum d\u00b2, d being the cost of each layer's removal where it is above zero: the "
         "full number of layers when all matter alike, 1 when a single layer does all."}};
  }

  json removal() const {
    json blocks = json::array();
    if (std::any_of(c_.runs.begin(), c_.runs.end(), [](const Run& run) { return run.sweep.has_value(); })) {
      blocks = json::array({removal_chart(), depth_meters()});
    }
    return {{"title", "Which layers carry weight"},
            {"intro", missing("No removal sweep yet for ", [](const Run& run) { return !run.sweep; })},
            {"blocks", blocks.empty()
                           ? words("No run has a removal sweep: fathom prune RUN --text FILE --sweep --json "
                                   "RUN/sweep.json makes one.")
                           : blocks}};
  }

  json settings() const {
    std::vector<std::string> keys;
    for (const Run& run : c_.runs) {
      for (const auto& [key, value] : run.settings) {
        if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
      }
    }
    json head = json::array({"setting"});
    for (const Run& run : c_.runs) head.push_back(run.name);
    json differing = json::array(), shared = json::array();
    for (const std::string& key : keys) {
      json cells = json::array({key});
      std::set<std::string> values;
      for (const Run& run : c_.runs) {
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
        "hesitates. "
        "Lower is better. The standard error is over validation sequences.");
    if (c_.runs.size() > 1) {
      add("Paired difference",
          "Both runs are scored on the same sequences, and the difference is taken sequence by sequence. A "
          "text that is "
          "hard for one is hard for the other, so that the difference is known better than either loss. "
          "Within two "
          "standard errors of zero we call it within noise.");
    }
    add("Variance of the residual stream",
        "Each layer adds to a shared stream. Where the variance of the stream grows from layer to layer, "
        "later layers "
        "change it less and less, relative to its size, and come close to doing nothing (the curse of depth, "
        "Sun et al. 2025, arXiv 2502.05795).");
    add("Cost of removing a layer",
        "How much the loss rises when the layer is skipped and all others stay as they are. Near zero: the "
        "model hardly "
        "uses the layer.");
    add("Effective depth", "How many layers would carry the same weight if all mattered alike.");
    return {{"title", "What the numbers mean"},
            {"blocks", json::array({{{"kind", "prose"}, {"items", items}}})}};
  }

  json limits() const {
    json items = json::array();
    for (size_t i = 0; i < c_.runs.size(); ++i) {
      const double parameters = c_.runs[i].parameters;
      const auto tokens = static_cast<double>(c_.summaries[i].tokens);
      if (!(parameters > 0)) continue;
      items.push_back(fmt::format(
          "{} saw {} tokens: {} for each of its {} parameters, where about 20 are usual "
          "(Hoffmann et al. 2022). A difference early in training may shrink, grow or turn.",
          c_.runs[i].name, count_text(tokens), number_text(tokens / parameters, 2), count_text(parameters)));
    }
    items.push_back(
        "The standard errors cover the choice of validation text. They do not cover the luck of the seed: "
        "the same run "
        "with another seed would end elsewhere, by how much only more runs can tell.");
    items.push_back("What holds at this size does not have to hold for a larger model or other text.");
    return {{"title", "What they can't show"},
            {"blocks", json::array({{{"kind", "findings"}, {"items", items}}})}};
  }

  /// "No probe was logged by a and b." for those that `lacks` is true of, where others do have it.
  template <class Predicate>
  std::string missing(const std::string& words, Predicate lacks) const {
    std::vector<std::string> names;
    for (const Run& run : c_.runs) {
      if (lacks(run)) names.push_back(run.name);
    }
    return names.empty() || names.size() == c_.runs.size() ? std::string() : words + joined(names) + ".";
  }

  static json words(const std::string& text) {
    return json::array({{{"kind", "findings"}, {"items", json::array({text})}}});
  }

  const Comparison& c_;
};

}  // namespace

std::string comparison_page(const Comparison& comparison) {
  return render_page(PageBuilder(comparison).build());
}

}  // namespace fathom
