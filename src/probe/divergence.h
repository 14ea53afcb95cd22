#pragma once
// Where two checkpoints of one model part: streams step by step, then weights tensor by tensor.

#include <optional>
#include <string>
#include <vector>

#include "core/progress.h"
#include "model/transformer.h"
#include "text/windows.h"

namespace fathom {

/// A place in the forward: the embedding (layer 0), a step of a layer (1-based), or the head (layer L + 1).
struct PassPlace {
  size_t layer = 0;
  TapPoint point = TapPoint::kEmbedding;
  bool head = false;
  std::string text() const;  ///< "embedding", "layer 3, attention", "layer 3, MLP", "head"
};

struct PlaceDeviation {
  PassPlace place;
  double deviation = 0;  ///< largest norm of the difference over the norm in the first model, over tokens
};

struct TensorDeviation {
  std::string name;
  double deviation = 0;  ///< norm of the difference over the norm in the first model
};

struct Divergence {
  std::vector<PlaceDeviation> places;    ///< in the order of the forward
  std::vector<TensorDeviation> tensors;  ///< those that differ at all, in the order of the parameter list
  std::optional<PassPlace> first;        ///< the first place beyond the tolerance
  std::string tensor;                    ///< the first tensor read there that differs by as much, if any
};

/// Runs both models on the same sequences. A deviation that is not finite counts as beyond any tolerance.
/// LayerScale's gains may be there in one alone: a fold leaves none.
/// Errors: Error where the models are not of one shape.
template <class W>
Divergence find_divergence(Transformer<W>& a, const ResidentWeights<W>& weights_a, Transformer<W>& b,
                           const ResidentWeights<W>& weights_b, const TokenSequences& sequences,
                           size_t batch_size, double tolerance, Progress* progress = nullptr);

}  // namespace fathom
