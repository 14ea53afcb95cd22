#pragma once
// The logit lens: what the model would predict if it stopped after a layer.  nostalgebraist 2020.

#include <functional>
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
  /// `record` is of the whole pass over `batch`, which has targets. Cost: L + 1 heads a row, of which the
  /// products are all but a few percent. Memory: two blocks of logits, see lens_rows(). `after_rows(n)` is
  /// called when n rows are done, by one thread at a time.
  template <class W>
  void add(Transformer<W>& model, const StreamRecorder<S>& record, const Batch& batch,
           const std::function<void(size_t)>& after_rows = {});

  std::vector<SequenceMean> loss;  ///< in nats
  std::vector<SequenceMean> kl;    ///< KL(lens || final), in nats
  std::vector<SequenceMean> top5;  ///< share of the lens's five likeliest tokens that are among the final's
};

/// Rows of logits that the lens makes at a time, all threads together, for a vocabulary of V: enough for the
/// head's products to run at full speed, few enough for memory.
size_t lens_rows(size_t V);

}  // namespace fathom
