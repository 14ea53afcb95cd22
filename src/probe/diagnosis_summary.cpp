#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/layer_costs.h"
#include "core/layer_ranges.h"
#include "probe/diagnosis.h"

namespace fathom {
namespace {

using nlohmann::json;

// The values of a key of all layers; empty where one is missing.
std::vector<double> values_of(const json& diagnosis, const char* key) {
  std::vector<double> values;
  for (const json& layer : diagnosis.value("per_layer", json::array())) {
    if (!layer.contains(key) || !layer[key].is_number()) return {};
    values.push_back(layer[key].get<double>());
  }
  return values;
}

// Whether some layer has no value for a key that layers have.
bool has_gap(const json& diagnosis, const char* key) {
  const json layers = diagnosis.value("per_layer", json::array());
  return std::any_of(layers.begin(), layers.end(),
                     [&](const json& layer) { return layer.contains(key) && !layer[key].is_number(); });
}

template <class Test>
std::vector<size_t> layers_where(const std::vector<double>& values, const Test& test) {
  std::vector<size_t> layers;
  for (size_t l = 0; l < values.size(); ++l) {
    if (test(values[l])) layers.push_back(l + 1);
  }
  return layers;
}

std::string growth_text(const json& growth) {
  const std::string law = growth["law"].get<std::string>();
  const double size = growth[law == "power" ? "exponent" : law == "exponential" ? "rate" : "slope"];
  const char* verb = size < 0 ? "falls" : "grows";
  if (law == "power") return fmt::format("; it {} as depth to the power {:.2f}", verb, size);
  if (law == "exponential")
    return fmt::format("; it {} by {:.1f}% a layer", verb, 100 * std::abs(std::expm1(size)));
  return fmt::format("; it {} by {:.3g} a layer", verb, std::abs(size));
}

void say_variance(const json& d, std::vector<std::string>& out) {
  const std::vector<double> variance = values_of(d, "variance");
  if (variance.empty()) return;
  std::string text = fmt::format(
      "The stream's variance goes from {:.3g} after layer 1 to {:.3g} after layer {} ({:.3g} times)",
      variance.front(), variance.back(), variance.size(), variance.back() / variance.front());
  const json growth = d.value("variance_growth", json());
  if (growth.is_object() && growth.value("dominated_by_jump", false)) {
    const json& jump = growth["jump"];
    text += fmt::format(
        "; layer {} alone multiplies it by {:.3g}, {:.0f}% of all the change: no law of depth describes that",
        jump["layer"].get<size_t>(), jump["factor"].get<double>(), 100 * jump["share"].get<double>());
  } else if (growth.is_object()) {
    text += growth_text(growth);
  }
  out.push_back(text + ".");
  // Massive activations sit on the first token: a variance that it makes is not the text's.
  const std::vector<double> without = values_of(d, "variance_without_first");
  std::vector<size_t> layers;
  for (size_t l = 0; l < without.size(); ++l) {
    if (without[l] < 0.5 * variance[l]) layers.push_back(l + 1);
  }
  if (!layers.empty())
    out.push_back(
        fmt::format("More than half of the variance after layer{} {} is that of the first token alone.",
                    layers.size() > 1 ? "s" : "", layer_ranges(layers)));
}

void say_angles(const json& d, std::vector<std::string>& out) {
  constexpr double kDegrees = 5;
  const std::vector<double> angle = values_of(d, "angular_distance");
  if (angle.empty()) return;
  const auto small = layers_where(angle, [](double a) { return a * 180 < kDegrees; });
  if (small.empty()) {
    out.push_back(fmt::format("Every layer turns the stream by {:.0f} degrees or more.", kDegrees));
  } else {
    out.push_back(fmt::format("Layer{} {} turn{} the stream by less than {:.0f} degrees{}.",
                              small.size() > 1 ? "s" : "", layer_ranges(small), small.size() > 1 ? "" : "s",
                              kDegrees, small.size() > 1 ? " each" : ""));
  }
}

void say_removal(const json& d, std::vector<std::string>& out) {
  if (has_gap(d, "delta_loss"))
    out.push_back("What removing layers costs was not measured: the loss is not finite.");
  const std::vector<double> delta = values_of(d, "delta_loss");
  if (delta.empty()) return;
  std::vector<double> errors = values_of(d, "delta_loss_stderr");
  if (errors.empty()) errors.assign(delta.size(), std::numeric_limits<double>::quiet_NaN());
  const auto least = std::min_element(delta.begin(), delta.end()),
             most = std::max_element(delta.begin(), delta.end());
  out.push_back(
      fmt::format("The cheapest layer to remove is {} ({:+.4f} nats), the dearest {} ({:+.4f} nats).",
                  least - delta.begin() + 1, *least, most - delta.begin() + 1, *most));
  out.push_back(cheap_layers_sentence(delta, errors));
  out.push_back(selection_sentence(delta.size()));
  if (d.contains("effective_depth") && d["effective_depth"].is_number()) {
    out.push_back(fmt::format("Effective depth: {:.1f} of {} layers.", d["effective_depth"].get<double>(),
                              delta.size()));
  }
}

void say_gradients(const json& d, std::vector<std::string>& out) {
  if (d.contains("grad_norm_reason"))
    out.push_back("The gradients' norms were not measured: " + d["grad_norm_reason"].get<std::string>() +
                  ".");
}

void say_usefulness(const json& d, std::vector<std::string>& out) {
  if (d.contains("usefulness_reason"))
    out.push_back("Usefulness was not measured: " + d["usefulness_reason"].get<std::string>() + ".");
  const std::vector<double> useful = values_of(d, "usefulness");
  if (useful.empty()) return;
  const auto linear = layers_where(useful, [](double u) { return u < 0.1; });
  out.push_back(fmt::format("{} of {} layers could be a linear map at less than a tenth of the loss{}.",
                            linear.size(), useful.size(), linear.empty() ? "" : ": " + layer_ranges(linear)));
}

}  // namespace

std::vector<std::string> diagnosis_summary(const json& d) {
  std::vector<std::string> out;
  say_variance(d, out);
  say_angles(d, out);
  say_removal(d, out);
  say_gradients(d, out);
  say_usefulness(d, out);
  return out;
}

}  // namespace fathom
