#pragma once
// How far two models' logits are apart: what a conversion, a merge or a cut is held to.

#include <span>

namespace fathom {

/// The largest difference over the largest expected magnitude; infinite where something is not finite on one
/// side or both, so that no comparison passes by it. `same_nans`: a NaN in the same place on both sides is no
/// difference, for a copy of a model that is broken already. Shapes: got, expected alike.
double logit_deviation(std::span<const float> got, std::span<const float> expected, bool same_nans = false);

}  // namespace fathom
