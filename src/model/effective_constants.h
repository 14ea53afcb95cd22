#pragma once
// A scheme's constants as a live model applies them, beside those that its config asks for. Two public
// implementations of LNS were found to have it switched off without a word; hence nobody here reads a plan
// back and calls it a measurement.

#include <vector>

#include "model/transformer.h"

namespace fathom {

/// Beyond this the scheme is not in force.
inline constexpr double kConstantTolerance = 1e-3;

struct LayerConstants {
  LayerPlan configured;
  MeasuredStep attn, mlp;
  /// Largest difference of a measured constant from the configured one, over both steps; NaN where a
  /// measurement is.
  double deviation = 0;
};

/// Measures every layer with measure_step: random signs go through the live plans and the live norm weights,
/// in the stream's type (under bf16 the rounding of a single constant would exceed what is to be found).
template <class W>
std::vector<LayerConstants> measure_constants(const Transformer<W>& model, WeightSource<W>& weights);

}  // namespace fathom
