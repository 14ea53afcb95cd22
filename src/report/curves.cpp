#include "report/curves.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fathom {

std::vector<size_t> spread(size_t n, size_t limit) {
  std::vector<size_t> out;
  const size_t count = std::min(n, limit);
  for (size_t i = 0; i < count; ++i) out.push_back(n <= limit ? i : i * (n - 1) / (limit - 1));
  return out;
}

Curve smooth(const Curve& curve, size_t window, size_t limit) {
  const size_t n = curve.size();
  // Sums up to i, so that a mean costs two subtractions whatever the window.
  std::vector<double> sums(n + 1, 0);
  std::vector<size_t> counts(n + 1, 0);
  for (size_t i = 0; i < n; ++i) {
    const bool valid = std::isfinite(curve[i].second);
    sums[i + 1] = sums[i] + (valid ? curve[i].second : 0);
    counts[i + 1] = counts[i] + (valid ? 1 : 0);
  }
  Curve out;
  for (const size_t i : spread(n, limit)) {
    const size_t half = std::min({window / 2, i, n - 1 - i});
    const size_t begin = i - half, end = i + half + 1;
    const size_t valid = counts[end] - counts[begin];
    const double mean = valid > 0 ? (sums[end] - sums[begin]) / static_cast<double>(valid)
                                  : std::numeric_limits<double>::quiet_NaN();
    out.emplace_back(curve[i].first, mean);
  }
  return out;
}

}  // namespace fathom
