#pragma once
// The optimizer that trains, as probe/golden.h wants it handed in.

#include <cmath>
#include <memory>

#include "kernels/vector_ops.h"
#include "probe/golden.h"
#include "train/optimizer.h"

namespace fathom::cli {

template <class W>
GoldenUpdate<Stream<W>> live_optimizer(ResidentWeights<W>& weights, const AdamWSettings& settings) {
  using S = Stream<W>;
  const OptimizerSettings own{settings.beta1, settings.beta2, settings.eps, settings.weight_decay};
  auto optimizer = std::make_shared<AdamW<S>>(weights.list(), own);
  return [optimizer, &weights, lr = settings.lr](const S* gradients, double clip) {
    const double norm = std::sqrt(sum_squares(gradients, weights.count()));
    optimizer->update(weights.values(), weights.copy(), gradients, lr, clip_factor(norm, clip));
  };
}

}  // namespace fathom::cli
