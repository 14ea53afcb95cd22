#pragma once
// Loss of held-out text, sequence by sequence: what perplexities, their standard errors and paired
// differences between runs are made of.

#include <cstdint>
#include <vector>

#include "model/transformer.h"

namespace fathom {

/// Sums over the scored tokens of each sequence, in nats.
struct SequenceLoss {
  std::vector<double> nll;
  std::vector<uint64_t> count;

  /// Sum of nll / number of scored tokens, over all sequences: whatever the batch size or the padding. NaN
  /// where nothing was scored.
  double mean() const;
  double perplexity() const;
  /// Standard error of mean() over sequences, as of a ratio of two sums (Cochran 1977, eq. 2.39, without the
  /// finite population's correction): sqrt(n / (n - 1) sum (nll_i - mean count_i)^2) / sum count. NaN for a
  /// single sequence, which tells nothing of the next.
  double standard_error() const;
};

/// Runs the model on `batch` and appends its B sequences to `loss`. Targets of kIgnoredTarget do not count.
/// Errors: those of Transformer::forward.
template <class W>
void append_losses(SequenceLoss& loss, Transformer<W>& model, const Batch& batch);

}  // namespace fathom
