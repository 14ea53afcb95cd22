#pragma once
// By which law the stream's variance grows with depth.

#include <optional>
#include <span>
#include <string>

namespace fathom {

/// Least-squares fits to the variance V_l of layers l = 1..L: linear V = c + k l, power log V = c + a log l,
/// exponential log V = c + b l. AICc = n log(RSS / n) + 2 p + 2 p (p + 1) / (n - p - 1) with p = 3 (two
/// coefficients and the residual's variance); for the fits of log V the Jacobian 2 sum log V_l is added, so
/// that all three are likelihoods of V itself (Burnham & Anderson 2002, 2.4 and 2.11.3).
struct GrowthFit {
  std::string law;                           ///< "linear", "power" or "exponential": the smallest AICc
  double slope = 0, exponent = 0, rate = 0;  ///< k, a, b
  double aicc_linear = 0, aicc_power = 0, aicc_exponential = 0;
};

/// Nothing for fewer than 6 layers, or where a variance is not above 0 and finite.
std::optional<GrowthFit> fit_growth(std::span<const double> variance);

}  // namespace fathom
