#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

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

template <class Test>
std::vector<size_t> layers_where(const std::vector<double>& values, const Test& test) {
  std::vector<size_t> layers;
  for (size_t l = 0; l < values.size(); ++l) {
    if (test(values[l])) layers.push_back(l + 1);
  }
  return layers;
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
    const std::string law = growth["law"].get<std::string>();
    text += law == "power"
                ? fmt::format("; it grows as depth to the power {:.2f}", growth["exponent"].get<double>())
            : law == "exponential"
                ? fmt::format("; it grows by {:.1f}% a layer", 100 * std::expm1(growth["rate"].get<double>()))
                : fmt::format("; it grows by {:.3g} a layer", growth["slope"].get<double>());
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
  constexpr double kCheap = 0.01;
  const std::vector<double> delta = values_of(d, "delta_loss");
  if (delta.empty()) return;
  const auto cheap = layers_where(delta, [](double x) { return x < kCheap; });
  const auto least = std::min_element(delta.begin(), delta.end()),
             most = std::max_element(delta.begin(), delta.end());
  out.push_back(
      fmt::format("The cheapest layer to remove is {} ({:+.4f} nats), the dearest {} ({:+.4f} nats).",
                  least - delta.begin() + 1, *least, most - delta.begin() + 1, *most));
  if (!cheap.empty())
    out.push_back(
        fmt::format("Alone, each of these costs less than {} nats: {}.", kCheap, layer_ranges(cheap)));
  if (d.contains("effective_depth") && d["effective_depth"].is_number()) {
    out.push_back(fmt::format("Effective depth: {:.1f} of {} layers.", d["effective_depth"].get<double>(),
                              delta.size()));
  }
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
  say_usefulness(d, out);
  return out;
}

}  // namespace fathom
