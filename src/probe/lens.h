#pragma once
// The logit lens: what the model would predict if it stopped after a layer.  nostalgebraist 2020.

#include <vector>

#include "model/transformer.h"
#include "probe/stream_metrics.h"

namespace fathom {

/// Final norm (its statistics computed anew) and head on each stream; entry 0 is the embedding, entry L the
/// model itself.
template <class S>
class LogitLens {
 public:
  explicit LogitLens(size_t num_layers) : loss(num_layers + 1), kl(num_layers + 1), top5(num_layers + 1) {}
  /// `record` is of the whole pass over `batch`, which has targets. Memory: 2 x 64 rows of logits.
  template <class W>
  void add(Transformer<W>& model, const StreamRecorder<S>& record, const Batch& batch);

  std::vector<SequenceMean> loss;  ///< in nats
  std::vector<SequenceMean> kl;    ///< KL(lens || final), in nats
  std::vector<SequenceMean> top5;  ///< share of the lens's five likeliest tokens that are among the final's
};

}  // namespace fathom
