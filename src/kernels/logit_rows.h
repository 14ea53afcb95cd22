#pragma once
// Rows of logits compared: what the logit lens asks of the two rows that it makes for a token.

#include <cstddef>

namespace fathom {

/// log(sum(exp(z))), z (V).
template <class S>
double log_sum_exp(const S* z, size_t V);

struct RowDivergence {
  double lse;  ///< of z
  double kl;   ///< sum p (log p - log q), p = softmax(z), q = softmax(f); 0 exactly for equal rows
};
/// Of two rows of logits (V); `f_lse` is log_sum_exp(f). For fp32 rows, exponentials and sums of 16 vectors
/// of them are fp32, and the sum of these double.
template <class S>
RowDivergence row_divergence(const S* z, const S* f, double f_lse, size_t V);

/// The places of the `count` highest elements of z (V), highest first, the lower place first on a tie; all V
/// where there are fewer. Returns how many.
template <class S>
size_t top_places(size_t* top, size_t count, const S* z, size_t V);

// The same by plain loops in double.
template <class S>
double log_sum_exp_ref(const S* z, size_t V);
template <class S>
RowDivergence row_divergence_ref(const S* z, const S* f, double f_lse, size_t V);
template <class S>
size_t top_places_ref(size_t* top, size_t count, const S* z, size_t V);

}  // namespace fathom
