#pragma once
// The difference between two runs on the same validation text. The losses of two runs on one sequence move
// together (a hard text is hard for both), so that their difference is known far better than either.

#include <string>
#include <vector>

#include "report/run.h"

namespace fathom {

/// Validation loss of `other` minus that of `first`, in nats a token.
struct PairedDifference {
  uint64_t step = 0, tokens = 0;
  size_t sequences = 0;
  double difference = kMissing;
  double standard_error = kMissing;  ///< NaN for a single sequence.

  /// "within noise" (two standard errors or less from zero), "beyond noise", or "noise unknown" where there
  /// is no standard error, or no number at all (a loss of NaN).
  std::string verdict() const;
};

/// The token-weighted mean difference over sequences i = 1 to n, with d_i = nll_other,i - nll_first,i and c_i
/// scored tokens:
///     D  = sum d_i / sum c_i
///     SE = sqrt(n / (n - 1) * sum (d_i - D c_i)^2) / sum c_i
/// SE is that of the ratio estimator (Cochran, Sampling Techniques, 3rd ed. 1977, eq. 6.13, without the
/// correction for a finite population); where all c_i are equal it is the usual standard error of a mean. It
/// covers the choice of validation text, not the luck of the seed. Needs: both evaluations scored the same
/// sequences (equal `count`). Throws std::invalid_argument otherwise.
PairedDifference paired_difference(const EvaluationRecord& first, const EvaluationRecord& other);

/// The paired differences at all steps at which both runs were evaluated, or why there are none.
struct Pairing {
  std::vector<PairedDifference> steps;  ///< By step.
  std::string reason;                   ///< Why `steps` is empty; "" where it is not.
};

/// Runs are paired where they share the seed and the data, and were evaluated at the same step, after as many
/// tokens, on the same sequences.
Pairing pair_runs(const RunRecord& first, const RunRecord& other);

}  // namespace fathom
