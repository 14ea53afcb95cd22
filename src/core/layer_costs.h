#pragma once
// What leaving layers out costs, as diagnoses, sweeps and pages alike say it. Costs are in nats a token.

#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace fathom {

/// (sum d)^2 / sum d^2 with d_l = max(0, delta_l): the number of layers that matter, L when all matter alike.
/// Nothing where no removal hurts; NaN where a cost is not finite, which is no cost of 0.
std::optional<double> effective_depth(std::span<const double> delta_losses);

/// Its standard error, the costs of the layers taken as independent: delta method on L = (sum d)^2 / sum d^2,
/// dL/dd_l = 2 L / S (1 - L d_l / S) with S = sum d. A layer whose cost is 0 or less was clipped to 0, and
/// counts with the slope at 0 and the variance of max(0, X), X normal about its cost. Bias is not counted:
/// noise about 0 counts on one side alone, so that L is too large where many costs are within their noise.
/// NaN where a cost has no standard error, or there is no effective depth.
double effective_depth_standard_error(std::span<const double> delta_losses, std::span<const double> errors);

/// Which layers (1-based: the first is layer 1) cost less than a hundredth of a nat each by itself, at two
/// standard errors, and which can't be told from that.
std::string cheap_layers_sentence(std::span<const double> delta_losses, std::span<const double> errors);

/// What a reader must know of the least of `layers` noisy costs.
std::string selection_sentence(size_t layers);

}  // namespace fathom
