#pragma once
// How far two models' logits are apart: what a conversion, a merge or a cut is held to.

#include <span>
#include <vector>

#include "model/transformer.h"

namespace fathom {

/// Positions that trial_logits() computes: two random sequences, enough to tell a wrong tensor, few enough to
/// cost one pass over the weights.
size_t trial_rows(const ModelConfig& config);

/// Logits (trial_rows, V) of the model, or of a program of its layers, at tokens that are the same for all
/// models of its vocabulary and context.
std::vector<float> trial_logits(Transformer<float>& model);
std::vector<float> trial_logits(Transformer<float>& model, const Program<float>& program,
                                const Observer<float>& observer = {});

/// The largest difference over the largest expected magnitude; infinite where something is not finite on one
/// side or both, so that no comparison passes by it. `same_nans`: a NaN in the same place on both sides is no
/// difference, for a copy of a model that is broken already. Shapes: got, expected alike.
double logit_deviation(std::span<const float> got, std::span<const float> expected, bool same_nans = false);

}  // namespace fathom
