#pragma once
// How far a layer is from the identity map: ||J - I||_F / sqrt(T d), J the Jacobian of the layer as a map of
// a whole sequence (T d numbers). 0: the layer passes its input on.

#include <cstdint>
#include <vector>

#include "model/transformer.h"
#include "probe/stream_metrics.h"

namespace fathom {

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
  /// `probes` sign vectors (K) a sequence and layer, drawn from `seed`.
  IdentityDeviation(size_t num_layers, size_t probes, uint64_t seed);
  template <class W>
  void add(Transformer<W>& model, const StreamRecorder<S>& record, const Batch& batch);

  /// Root of the mean square over sequences and probes.
  double value(size_t layer) const;
  /// Over sequences; over probes where there is but one sequence.
  double standard_error(size_t layer) const;
  size_t probes() const { return probes_; }

 private:
  size_t probes_;
  uint64_t seed_;
  uint64_t sequences_seen_ = 0;
  std::vector<SequenceMean> by_sequence_, by_probe_;  // of the squares
};

}  // namespace fathom
