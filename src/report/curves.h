#pragma once
// Long curves made short enough for a page.

#include <cstddef>
#include <utility>
#include <vector>

namespace fathom {

using Curve = std::vector<std::pair<double, double>>;  ///< (x, y); y may be NaN.

/// The centred moving average of `curve` over `window` points, at no more than `limit` (>= 2) places, the
/// first and the last point among them. Near the ends the window shrinks on both sides alike, so that it
/// never leans on one side, and the first and the last value are the curve's own. NaN: left out of the mean;
/// a window of nothing but NaN gives NaN.
Curve smooth(const Curve& curve, size_t window, size_t limit);

/// Indices of at most `limit` (>= 2) of `n` things, evenly spaced, the first and the last among them.
std::vector<size_t> spread(size_t n, size_t limit);

}  // namespace fathom
