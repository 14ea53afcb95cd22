#include "core/layer_costs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include <fmt/format.h>

#include "core/layer_ranges.h"

namespace fathom {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr double kCheap = 0.01;  // one per cent of perplexity

// Variance of max(0, X), X normal with this mean, of 0 or less, and standard error.
double clipped_variance(double mean, double error) {
  if (error == 0) return 0;
  const double z = mean / error;
  const double density = std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
  const double above = std::erfc(-z / std::numbers::sqrt2) / 2;
  const double first = mean * above + error * density;
  const double second = (mean * mean + error * error) * above + mean * error * density;
  const double variance = second - first * first;
  return variance < 0 ? 0 : variance;  // by rounding, far below 0
}

}  // namespace

std::optional<double> effective_depth(std::span<const double> delta_losses) {
  double sum = 0, squares = 0;
  for (const double delta : delta_losses) {
    if (!std::isfinite(delta)) return kNone;
    const double d = delta > 0 ? delta : 0;
    sum += d;
    squares += d * d;
  }
  if (!(squares > 0)) return std::nullopt;
  return sum * sum / squares;
}

double effective_depth_standard_error(std::span<const double> delta_losses, std::span<const double> errors) {
  const double depth = effective_depth(delta_losses).value_or(kNone);
  if (std::isnan(depth)) return kNone;
  double sum = 0, variance = 0;
  for (const double delta : delta_losses) sum += delta > 0 ? delta : 0;
  for (size_t l = 0; l < delta_losses.size(); ++l) {
    const double delta = delta_losses[l], error = errors[l];
    const double slope = 2 * depth / sum * (1 - depth * std::max(0.0, delta) / sum);
    variance += slope * slope * (delta > 0 ? error * error : clipped_variance(delta, error));
  }
  return std::sqrt(variance);
}

std::string cheap_layers_sentence(std::span<const double> delta_losses, std::span<const double> errors) {
  std::vector<size_t> cheap, open;
  bool noise_known = true;
  for (size_t l = 0; l < delta_losses.size(); ++l) {
    const double noise = std::isfinite(errors[l]) ? 2 * errors[l] : 0;
    if (delta_losses[l] + noise < kCheap)
      cheap.push_back(l + 1);
    else if (delta_losses[l] - noise < kCheap)
      open.push_back(l + 1);
    noise_known = noise_known && std::isfinite(errors[l]);
  }
  const char* at = noise_known ? ", at two standard errors" : "";
  std::string text;
  if (!cheap.empty()) {
    text = fmt::format("{} of {} layers cost less than {} nats each by itself, 1% of perplexity{}: {}.",
                       cheap.size(), delta_losses.size(), kCheap, at, layer_ranges(cheap));
  } else if (open.empty()) {
    text = fmt::format("No layer is free: each costs {} nats or more by itself{}.", kCheap, at);
  } else {
    text =
        fmt::format("No layer is known to cost less than {} nats by itself, 1% of perplexity{}.", kCheap, at);
  }
  if (!open.empty())
    text += fmt::format(" {} cannot be told from that: {}.",
                        open.size() == 1 ? "One" : std::to_string(open.size()), layer_ranges(open));
  if (!noise_known) text += " The noise of the costs is not known.";
  return text;
}

std::string selection_sentence(size_t layers) {
  return fmt::format(
      "The cheapest is the least of {} noisy costs, and so likelier too low than too high: price it on "
      "another text before cutting.",
      layers);
}

}  // namespace fathom
