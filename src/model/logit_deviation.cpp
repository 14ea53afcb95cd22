#include "model/logit_deviation.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fathom {

double logit_deviation(std::span<const float> got, std::span<const float> expected, bool same_nans) {
  double largest = 0, worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (same_nans && std::isnan(got[i]) && std::isnan(expected[i])) continue;
    const double d = std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
    // std::max(a, NaN) is a: a NaN would pass every check.
    worst = std::isfinite(d) ? std::max(worst, d) : std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    if (std::isinf(worst)) return worst;
  }
  return worst == 0 ? 0 : worst / largest;
}

}  // namespace fathom
