#pragma once
// Where a run that went NaN or Inf did so first.

#include <string>
#include <vector>

#include "model/transformer.h"

namespace fathom {

/// "NaN", "Inf" or "-Inf" (the sign of a NaN says nothing), and the digits of any other value.
std::string value_text(double value);

/// Names the first value that is not finite, in the order in which a step computes: parameters; the stream of
/// a forward of `batch`, after the embedding and after each layer's steps; the losses; gradients, from the
/// head down. Layers are 1-based. "" where all are finite. Runs the forward once more, and no faster than
/// that. Shapes: values in the order of `list`, gradients in that of `trained`.
template <class W>
std::string describe_non_finite(Transformer<W>& model, const std::vector<ParamSpec>& list,
                                const Stream<W>* values, const std::vector<ParamSpec>& trained,
                                const Stream<W>* gradients, const Batch& batch);

}  // namespace fathom
