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

  // The layer (1-based) that changes log V the most, by which factor it multiplies V, and its share of the
  // changes of all layers from 2 on, |log V_l - log V_(l-1)| summed.
  size_t jump_layer = 0;
  double jump_factor = 1, jump_share = 0;
  /// One layer does half of it all: no law of depth describes that, and the fit is not to be believed. Smooth
  /// growth stays below: of the power laws over 6 layers or more, the steepest first step has a share of
  /// log 2 / log 6 = 0.39.
  bool dominated_by_jump() const { return jump_share >= 0.5; }
};

/// Nothing for fewer than 6 layers, or where a variance is not above 0 and finite.
std::optional<GrowthFit> fit_growth(std::span<const double> variance);

}  // namespace fathom
