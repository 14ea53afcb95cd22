#pragma once
// Norms of the loss's gradient by all parameters of a layer, from streams that a pass has left: backward
// layer by layer, so that one layer's gradients are in memory at a time.

#include <functional>
#include <vector>

#include "model/transformer.h"
#include "probe/stream_metrics.h"

namespace fathom {

template <class S>
class GradientNorms {
 public:
  /// Over a text that is added in one batch, one layer's gradients are held; over several batches all
  /// layers', since a norm is of the sum. `list` outlives it.
  GradientNorms(const std::vector<ParamSpec>& list, size_t num_layers, bool several_batches);
  static size_t bytes(const std::vector<ParamSpec>& list, size_t num_layers, bool several_batches);

  /// Adds the gradients of grad_scale * (sum of nll) over `batch`; `record` holds the whole pass over it.
  /// `after_each(l)` is called when layer l is done.
  template <class W>
  void add(Transformer<W>& model, const StreamRecorder<S>& record, const Batch& batch, double grad_scale,
           const std::function<void(size_t)>& after_each = {});
  /// By layer.
  const std::vector<double>& norms() const { return norms_; }

 private:
  const std::vector<ParamSpec>& list_;
  std::vector<Buffer<S>> gradients_;
  std::vector<double> norms_;
};

}  // namespace fathom
