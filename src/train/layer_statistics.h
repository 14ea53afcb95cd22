#pragma once
// What a probe step records of each layer: the variance of the stream after it, and its gradient's norm.

#include <cstdint>
#include <span>
#include <vector>

#include "model/transformer.h"

namespace fathom {

/// Population variance over the hidden dimension, mean over the tokens of all batches observed, layer by
/// layer. Two passes over each row, in double: E[x^2] - mean^2 would cancel.
class LayerVariance {
 public:
  LayerVariance(size_t num_layers, size_t hidden_size);
  /// To be handed `rows` with each forward.
  template <class S>
  Observer<S> observer(size_t rows);
  std::vector<double> means() const;

 private:
  size_t hidden_size_;
  std::vector<double> sums_;
  std::vector<uint64_t> rows_;
};

/// Norm of the gradient over all parameters of each layer. Shapes: gradients flat in the order of `list`.
template <class S>
std::vector<double> layer_gradient_norms(const std::vector<ParamSpec>& list, const S* gradients,
                                         size_t num_layers);

}  // namespace fathom
