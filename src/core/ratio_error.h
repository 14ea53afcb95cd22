#pragma once
// The standard error of a mean over tokens whose independent units are sequences.

#include <cmath>
#include <cstddef>
#include <limits>

namespace fathom {

/// Of the ratio r = sum y_i / sum n_i over `units` sequences: sqrt(m / (m - 1) sum (y_i - r n_i)^2) / sum
/// n_i. NaN for fewer than two units. Source: Cochran 1977, Sampling Techniques, eq. 2.39 and 6.4, without
/// the finite population's correction.
inline double ratio_standard_error(double squared_residuals, size_t units, double weight) {
  if (units < 2) return std::numeric_limits<double>::quiet_NaN();
  const auto m = static_cast<double>(units);
  // A sum of squares that is 0 can come out slightly below it. NaN stays NaN, which std::max would drop.
  const double residuals = squared_residuals < 0 ? 0 : squared_residuals;
  return std::sqrt(m / (m - 1) * residuals) / weight;
}

}  // namespace fathom
