#pragma once
// How far a layer is from the identity map: ||J - I||_F / sqrt(T d), J the Jacobian of the layer as a map of
// a whole sequence (T d numbers). 0: the layer passes its input on.

#include <cstdint>
#include <functional>
#include <vector>

#include "model/transformer.h"
#include "probe/stream_metrics.h"

namespace fathom {

/// Products done at once, as copies of the sequence in one batch, where the deviation is exact.
inline constexpr size_t kExactCopies = 32;

/// Exact, by one vector-Jacobian product a number of the sequence (T C of them, several at a time).
/// Shapes: tokens (T); x (T, C) the stream that enters layer `layer` (0-based).
template <class W>
double exact_identity_deviation(Transformer<W>& model, size_t layer, const Stream<W>* x,
                                const int32_t* tokens, size_t T);

/// Estimated with random sign vectors v, one draw a sequence and probe: E |(J^T - I) v|^2 / |v|^2 is
/// ||J - I||_F^2 / (T d).  Hutchinson 1990. Padding at a sequence's end is left out: v is 0 there, and causal
/// attention keeps it apart.
template <class S>
class IdentityDeviation {
 public:
  /// `probes` sign vectors (K) a sequence and layer, drawn from `seed`; 0: exact, from all T C unit vectors.
  IdentityDeviation(size_t num_layers, size_t probes, uint64_t seed);
  /// Layer by layer, `rows_at_once` rows at a time (whole sequences, at least one; 0: all), which changes the
  /// memory and nothing else; `after_each(l)` is called when layer l is done, and layers before `first` were
  /// added already.
  template <class W>
  void add(Transformer<W>& model, const StreamRecorder<S>& record, const Batch& batch,
           size_t rows_at_once = 0, const std::function<void(size_t)>& after_each = {}, size_t first = 0);

  /// Root of the mean square over sequences and probes.
  double value(size_t layer) const;
  /// Over sequences; over probes where there is but one sequence.
  double standard_error(size_t layer) const;
  size_t probes() const { return probes_; }

  std::vector<SequenceMean> by_sequence, by_probe;  ///< of the squares
  uint64_t sequences_seen = 0;

 private:
  template <class W>
  void add_layer(Transformer<W>& model, size_t layer, const S* x, const Batch& batch, uint64_t sequence);
  template <class W>
  void add_exactly(Transformer<W>& model, size_t layer, const S* x, const Batch& batch);

  size_t probes_;
  uint64_t seed_;
  Buffer<S> signs_, product_;  // kept from call to call: the system clears fresh memory
};

}  // namespace fathom
