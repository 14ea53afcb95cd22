#include "probe/sequence_mean.h"

#include <limits>

#include "core/ratio_error.h"
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

void SequenceMean::add_rows(const double* values, const Batch& batch) { add_rows_from(0, values, batch); }

void SequenceMean::add_rows_after_first(const double* values, const Batch& batch) {
  add_rows_from(1, values, batch);
}

void SequenceMean::add_rows_from(size_t first, const double* values, const Batch& batch) {
  for (size_t b = 0; b < batch.B; ++b) {
    double sum = 0, count = 0;
    for (size_t row = b * batch.T + first; row < (b + 1) * batch.T; ++row) {
      if (!is_scored(batch, row)) continue;
      sum += values[row];
      count += 1;
    }
    if (count > 0) add(sum, count);
  }
}

std::array<double, SequenceMean::kStateSize> SequenceMean::state() const {
  return {y_, n_, yy_, yn_, nn_, static_cast<double>(sequences_)};
}

SequenceMean SequenceMean::from_state(const std::array<double, kStateSize>& state) {
  SequenceMean mean;
  mean.y_ = state[0];
  mean.n_ = state[1];
  mean.yy_ = state[2];
  mean.yn_ = state[3];
  mean.nn_ = state[4];
  mean.sequences_ = static_cast<size_t>(state[5]);
  return mean;
}

double SequenceMean::mean() const {
  return sequences_ > 0 ? y_ / n_ : std::numeric_limits<double>::quiet_NaN();
}

double SequenceMean::standard_error() const {
  const double r = mean();
  return ratio_standard_error(yy_ - 2 * r * yn_ + r * r * nn_, sequences_, n_);
}

}  // namespace fathom
