#include "probe/growth.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace fathom {
namespace {

struct Line {
  double slope, rss;
};

// y = c + slope x.
Line fit_line(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  double mx = 0, my = 0, xx = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) mx += x[i] / n, my += y[i] / n;
  for (size_t i = 0; i < x.size(); ++i) xx += (x[i] - mx) * (x[i] - mx), xy += (x[i] - mx) * (y[i] - my);
  const double slope = xy / xx;
  double rss = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double r = y[i] - my - slope * (x[i] - mx);
    rss += r * r;
  }
  return {slope, rss};
}

double aicc(double rss, double n) {
  constexpr double p = 3;
  // A perfect fit would be minus infinity, which JSON has no form for.
  const double floor = std::numeric_limits<double>::min();
  return n * std::log(std::max(rss / n, floor)) + 2 * p + 2 * p * (p + 1) / (n - p - 1);
}

}  // namespace

std::optional<GrowthFit> fit_growth(std::span<const double> variance) {
  if (variance.size() < 6) return {};
  std::vector<double> l, log_l, v(variance.begin(), variance.end()), log_v;
  double jacobian = 0;
  for (size_t i = 0; i < v.size(); ++i) {
    if (!std::isfinite(v[i]) || !(v[i] > 0)) return {};
    l.push_back(static_cast<double>(i + 1));
    log_l.push_back(std::log(l.back()));
    log_v.push_back(std::log(v[i]));
    jacobian += 2 * log_v.back();
  }
  const auto n = static_cast<double>(v.size());
  const Line linear = fit_line(l, v), power = fit_line(log_l, log_v), exponential = fit_line(l, log_v);
  GrowthFit fit;
  fit.slope = linear.slope;
  fit.exponent = power.slope;
  fit.rate = exponential.slope;
  fit.aicc_linear = aicc(linear.rss, n);
  fit.aicc_power = aicc(power.rss, n) + jacobian;
  fit.aicc_exponential = aicc(exponential.rss, n) + jacobian;
  const double best = std::min({fit.aicc_linear, fit.aicc_power, fit.aicc_exponential});
  fit.law = best == fit.aicc_linear ? "linear" : best == fit.aicc_power ? "power" : "exponential";
  double changes = 0, largest = 0;
  for (size_t i = 1; i < v.size(); ++i) {
    const double change = log_v[i] - log_v[i - 1];
    changes += std::abs(change);
    if (std::abs(change) <= std::abs(largest)) continue;
    largest = change;
    fit.jump_layer = i + 1;
  }
  fit.jump_factor = std::exp(largest);
  fit.jump_share = changes > 0 ? std::abs(largest) / changes : 0;
  return fit;
}

}  // namespace fathom
