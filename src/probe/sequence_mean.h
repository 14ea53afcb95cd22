#pragma once
// Means over tokens that carry their standard error over sequences: tokens of one sequence are not
// independent, sequences nearly are.

#include <array>
#include <cstddef>

#include "model/transformer.h"

namespace fathom {

/// True where the position counts: it has a target, or the batch has none.
bool is_scored(const Batch& batch, size_t row);

/// The ratio sum(y_s) / sum(n_s) over sequences s. With n_s = tokens it is a mean over tokens; with any other
/// positive n_s a ratio of means, such as the causal score's.
class SequenceMean {
 public:
  /// One sequence's sums.
  void add(double y, double n);
  /// One value a row of the batch; rows that are not scored are left out. Shapes: values (rows).
  void add_rows(const double* values, const Batch& batch);
  /// The same without the first token of each sequence.
  void add_rows_after_first(const double* values, const Batch& batch);

  /// NaN where nothing was added.
  double mean() const;
  /// Linearized standard error of the ratio, sequences being the units: sqrt(m / (m - 1) sum (y_s - mean
  /// n_s)^2) / sum n_s. NaN for fewer than two sequences. Source: Cochran 1977, Sampling Techniques, 6.4.
  double standard_error() const;
  double weight() const { return n_; }
  /// All that it holds, to be kept and taken up again.
  static constexpr size_t kStateSize = 6;
  std::array<double, kStateSize> state() const;
  static SequenceMean from_state(const std::array<double, kStateSize>& state);
  size_t sequences() const { return sequences_; }

 private:
  void add_rows_from(size_t first, const double* values, const Batch& batch);
  double y_ = 0, n_ = 0, yy_ = 0, yn_ = 0, nn_ = 0;
  size_t sequences_ = 0;
};

}  // namespace fathom
