#include "report/depth_charts.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/blocks.h"
#include "report/format.h"
#include "report/metric_definitions.h"

namespace fathom {
namespace {

using nlohmann::json;

struct Curves {
  const char* key;
  const char* label;  ///< What tells it from the chart's other curves; "" where it is alone.
};

/// One chart over depth.
struct DepthChart {
  const char* title;
  const char* unit;  ///< Title of the vertical axis.
  std::vector<Curves> curves;
  const char* note;
  double factor = 1;        ///< From the file's unit to the chart's.
  bool log = false;         ///< Starts with a logarithmic axis, and can be switched.
  bool zero = true;         ///< Zero is in sight.
  double line = kMissing;   ///< A level to compare with.
  const char* suffix = "";  ///< Unit behind a value, such as a degree sign.
};

const DepthChart kVariance{"Variance of the residual stream",
                           "variance",
                           {{"variance", ""}},
                           "After each layer; 0 is the embedding. Dashed: the fitted law. A steep rise means "
                           "that each further layer changes "
                           "the stream by less and less, relative to what is there.",
                           1,
                           true,
                           false};
const DepthChart kStream[] = {
    {"Variance without first tokens",
     "variance",
     {{"variance_without_first", ""}},
     "The same over all tokens but the first of each sequence, on which massive activations sit.",
     1,
     true,
     false},
    {"RMS of the residual stream",
     "RMS",
     {{"rms", ""}},
     "After each layer; 0 is the embedding.",
     1,
     true,
     false},
    {"RMS without first tokens",
     "RMS",
     {{"rms_without_first", ""}},
     "The same over all tokens but the first of each sequence.",
     1,
     true,
     false},
    {"Variance of what attention and MLP add",
     "variance",
     {{"attn_variance", "attention"}, {"mlp_variance", "MLP"}},
     "Of the stream after the step less the stream before it.",
     1,
     true,
     false},
    {"RMS of what attention and MLP add",
     "RMS",
     {{"attn_rms", "attention"}, {"mlp_rms", "MLP"}},
     "Of the stream after the step less the stream before it.",
     1,
     true,
     false},
};
const DepthChart kChange[] = {
    {"Angle by which each layer turns the stream",
     "degrees",
     {{"angular_distance", ""}},
     "Between the stream before and after the layer; 0: the direction stays as it is.",
     180,
     false,
     true,
     kMissing,
     "\u00b0"},
    {"Block influence",
     "1 \u2212 cosine",
     {{"block_influence", ""}},
     "0: the stream keeps its direction, the layer may be redundant.",
     1,
     true,
     false},
    {"What attention and MLP add",
     "norm relative to the stream",
     {{"attn_contribution", "attention"}, {"mlp_contribution", "MLP"}},
     "Size of each step's change over the size of the stream before it.",
     1,
     true,
     false},
    {"Direction of what they add",
     "cosine with the stream",
     {{"attn_cosine", "attention"}, {"mlp_cosine", "MLP"}},
     "Above zero the step strengthens what is there, below zero it takes some of it away."},
};
const DepthChart kFunction[] = {
    {"Deviation from the identity",
     "\u2016J \u2212 I\u2016 per dimension",
     {{"identity_deviation", ""}},
     "Of the layer's Jacobian. 0: the layer is an identity map.",
     1,
     true,
     false},
    {"Usefulness",
     "added loss, relative",
     {{"usefulness", ""}},
     "How much the loss rises when the layer is replaced by the linear map that fits it best. Below the line "
     "at 0.1 a "
     "linear map would do.",
     1,
     true,
     false,
     0.1},
    {"Gradient norm",
     "norm",
     {{"grad_norm", ""}},
     "Of the loss, over all parameters of the layer.",
     1,
     true,
     false},
};
const DepthChart kLens[] = {
    {"Loss of the logit lens",
     "nats per token",
     {{"lens_loss", ""}},
     "What the model would lose if it stopped after the layer; 0 is the embedding.",
     1,
     false,
     false},
    {"Distance from the final prediction",
     "KL divergence, nats",
     {{"lens_kl", ""}},
     "Of the prediction after the layer from the final one; 0 after the last layer.",
     1,
     false,
     true},
    {"Agreement on the five likeliest tokens",
     "share",
     {{"lens_top5", ""}},
     "Share of the lens's five likeliest tokens that are among the final five.",
     1,
     false,
     true},
};

bool depths_differ(const Probes& probes) {
  return std::any_of(probes.begin(), probes.end(),
                     [&](const ProbeRecord& p) { return p.layers != probes.front().layers; });
}

bool has_embedding(const DepthValues& values) { return std::isfinite(values.value[0]); }

json series_of(const ProbeRecord& probe, const DepthValues& values, const DepthChart& spec,
               const Curves& curve, bool alone) {
  json points = json::array(), errors = json::array();
  for (size_t l = has_embedding(values) ? 0 : 1; l <= probe.layers; ++l) {
    points.push_back({l, compact(values.value[l] * spec.factor)});
    errors.push_back(compact(values.error[l] * spec.factor));
  }
  const std::string part = curve.label;
  json out{{"run", probe.run},       {"label", alone && !part.empty() ? part : probe.name},
           {"layers", probe.layers}, {"dots", true},
           {"points", points},       {"errors", errors}};
  // The parts of a single model have colours of their own; its whole needs no legend.
  if (alone && &curve != spec.curves.data()) out["colour"] = probe.run + 1;
  if (alone && part.empty()) out["legend"] = "";
  return out;
}

json chart_of(const Probes& probes, const DepthChart& spec) {
  json series = json::array();
  bool positive = true;
  for (const ProbeRecord& probe : probes) {
    for (const Curves& curve : spec.curves) {
      const DepthValues* values = probe.find(curve.key);
      if (values == nullptr) continue;
      positive = positive &&
                 std::none_of(values->value.begin(), values->value.end(), [](double v) { return v <= 0; });
      series.push_back(series_of(probe, *values, spec, curve, probes.size() == 1));
    }
  }
  if (series.empty()) return {};
  // What starts logarithmic must not hide a value that is 0 or less.
  const bool relative = depths_differ(probes);
  json y{{"title", spec.unit}, {"log", spec.log && positive}, {"zero", spec.zero}};
  if (*spec.suffix != '\0') y["suffix"] = spec.suffix;
  if (!std::isnan(spec.line)) y["line"] = spec.line;
  json toggles = json::array({"log-y"});
  if (relative) toggles.push_back("relative");
  json out{{"kind", "chart"},
           {"type", "line"},
           {"title", spec.title},
           {"x", {{"title", "layer"}, {"unit", "layer"}, {"relative", relative}}},
           {"y", y},
           {"toggles", toggles},
           {"series", series},
           {"note", spec.note}};
  return out;
}

json with_definition(json block, std::string_view key) {
  if (!block.is_null()) block["define"] = {metric_definition_index(key)};
  return block;
}

template <class Specs>
json charts_of(const Probes& probes, const Specs& specs) {
  json out = json::array();
  const auto add = [&](const DepthChart& spec) {
    json block = with_definition(chart_of(probes, spec), spec.curves.front().key);
    if (!block.is_null()) out.push_back(std::move(block));
  };
  for (const DepthChart& spec : specs) {
    if (probes.size() == 1 || spec.curves.size() == 1) {
      add(spec);
      continue;
    }
    // Several models with several curves each would be a tangle: one chart a curve.
    for (const Curves& curve : spec.curves) {
      DepthChart one = spec;
      const std::string title = fmt::format("{}: {}", spec.title, curve.label);
      one.title = title.c_str();
      one.curves = {curve};
      add(one);
    }
  }
  return out;
}

}  // namespace

json stream_charts(const Probes& probes) {
  json out = json::array();
  json variance = with_definition(chart_of(probes, kVariance), "variance");
  if (!variance.is_null()) {
    variance["define"].push_back(metric_definition_index("variance_growth"));
    std::string note = kVariance.note;
    for (const ProbeRecord& probe : probes) {
      const std::vector<double> fit = fitted_variance(probe);
      if (fit.empty()) continue;
      Curve curve;
      for (size_t l = 1; l <= fit.size(); ++l) curve.emplace_back(static_cast<double>(l), fit[l - 1]);
      variance["series"].push_back({{"run", probe.run},
                                    {"label", probe.name + ", fit"},
                                    {"legend", ""},
                                    {"layers", probe.layers},
                                    {"dash", true},
                                    {"points", points_of(curve)}});
      note += fmt::format(" {}: {}.", probe.name, growth_text(probe));
    }
    variance["note"] = typeset(note);
    out.push_back(std::move(variance));
  }
  for (json& block : charts_of(probes, kStream)) out.push_back(std::move(block));
  return out;
}

json change_charts(const Probes& probes) { return charts_of(probes, kChange); }
json function_charts(const Probes& probes) { return charts_of(probes, kFunction); }
json lens_charts(const Probes& probes) { return charts_of(probes, kLens); }

json other_charts(const Probes& probes) {
  std::vector<std::string> keys;
  for (const ProbeRecord& probe : probes) {
    for (const auto& [key, values] : probe.metrics) {
      const auto known = [&](const MetricDefinition& d) { return d.defines(key); };
      const auto all = metric_definitions();
      if (std::any_of(all.begin(), all.end(), known) ||
          std::find(keys.begin(), keys.end(), key) != keys.end())
        continue;
      keys.push_back(key);
    }
  }
  json out = json::array();
  for (const std::string& key : keys) {
    json block = chart_of(probes, {key.c_str(), key.c_str(), {{key.c_str(), ""}}, "", 1, false, false});
    if (!block.is_null()) out.push_back(std::move(block));
  }
  return out;
}

std::vector<double> fitted_variance(const ProbeRecord& probe) {
  const DepthValues* variance = probe.find("variance");
  if (!probe.growth || variance == nullptr || variance->missing() > 0) return {};
  const GrowthRecord& g = *probe.growth;
  const bool linear = g.law == "linear", power = g.law == "power", exponential = g.law == "exponential";
  const double slope = linear ? g.slope : power ? g.exponent : exponential ? g.rate : kMissing;
  if (!std::isfinite(slope)) return {};
  const auto x = [&](size_t l) { return power ? std::log(static_cast<double>(l)) : static_cast<double>(l); };
  double rest = 0;
  for (size_t l = 1; l <= probe.layers; ++l) {
    const double v = variance->value[l];
    rest += (linear ? v : std::log(v)) - slope * x(l);
  }
  rest /= static_cast<double>(probe.layers);
  std::vector<double> out;
  for (size_t l = 1; l <= probe.layers; ++l) {
    const double fit = rest + slope * x(l);
    out.push_back(linear ? fit : std::exp(fit));
  }
  return out;
}

std::string growth_text(const ProbeRecord& probe) {
  if (!probe.growth) return {};
  const GrowthRecord& g = *probe.growth;
  std::string text = g.law == "power"    ? fmt::format("power law, variance as depth^{:.2f}", g.exponent)
                     : g.law == "linear" ? fmt::format("linear, {} a layer", number_text(g.slope, 3))
                     : g.law == "exponential"
                         ? fmt::format("exponential, {:+.1f}% a layer", 100 * std::expm1(g.rate))
                         : g.law;
  if (std::isfinite(g.aicc_linear) && std::isfinite(g.aicc_power) && std::isfinite(g.aicc_exponential))
    text += fmt::format(" (AICc: linear {:.1f}, power {:.1f}, exponential {:.1f}; the smallest is chosen)",
                        g.aicc_linear, g.aicc_power, g.aicc_exponential);
  return text + (g.dominated_by_jump
                     ? "; one layer makes most of the growth, so that no law is to be believed"
                     : "");
}

std::vector<std::string> missing_metrics(const ProbeRecord& probe) {
  std::vector<std::string> out;
  const auto look = [&](const DepthChart& spec) {
    for (const Curves& curve : spec.curves) {
      if (probe.find(curve.key) == nullptr) out.emplace_back(curve.key);
    }
  };
  look(kVariance);
  for (const DepthChart& spec : kStream) look(spec);
  for (const DepthChart& spec : kChange) look(spec);
  for (const DepthChart& spec : kFunction) look(spec);
  for (const DepthChart& spec : kLens) look(spec);
  if (probe.angular_all.empty()) out.emplace_back("angular_matrix_all");
  if (probe.angular_last.empty()) out.emplace_back("angular_matrix_last");
  if (probe.causal.empty()) out.emplace_back("causal_score");
  if (probe.permutation.empty()) out.emplace_back("permutation_score");
  return out;
}

}  // namespace fathom
