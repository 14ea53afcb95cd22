#include "probe/sequence_mean.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cross_entropy.h"

namespace fathom {

bool is_scored(const Batch& batch, size_t row) {
  return batch.targets == nullptr || batch.targets[row] != kIgnoredTarget;
}

void SequenceMean::add(double y, double n) {
  y_ += y;
  n_ += n;
  yy_ += y * y;
  yn_ += y * n;
  nn_ += n * n;
  ++sequences_;
}

void SequenceMean::add_rows(const double* values, const Batch& batch) {
  for (size_t b = 0; b < batch.B; ++b) {
    double sum = 0, count = 0;
    for (size_t row = b * batch.T; row < (b + 1) * batch.T; ++row) {
      if (!is_scored(batch, row)) continue;
      sum += values[row];
      count += 1;
    }
    if (count > 0) add(sum, count);
  }
}

double SequenceMean::mean() const {
  return sequences_ > 0 ? y_ / n_ : std::numeric_limits<double>::quiet_NaN();
}

double SequenceMean::standard_error() const {
  if (sequences_ < 2) return std::numeric_limits<double>::quiet_NaN();
  const double r = mean(), m = static_cast<double>(sequences_);
  // Rounding can leave a sum of squares that is 0 slightly below it.
  const double residual = std::max(0.0, yy_ - 2 * r * yn_ + r * r * nn_);
  return std::sqrt(m / (m - 1) * residual) / n_;
}

}  // namespace fathom
