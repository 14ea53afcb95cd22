#include "eval/paired_accuracy.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace fathom {

std::optional<bool> AccuracyChange::within_noise() const {
  if (!standard_error) return std::nullopt;
  return std::abs(delta) <= 2 * *standard_error;
}

AccuracyChange accuracy_change(const std::vector<bool>& before, const std::vector<bool>& after) {
  if (before.size() != after.size() || before.empty()) fail("internal: accuracies of other items");
  AccuracyChange change;
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i] && !after[i]) ++change.lost;
    if (!before[i] && after[i]) ++change.gained;
  }
  const auto n = static_cast<double>(before.size());
  const auto lost = static_cast<double>(change.lost), gained = static_cast<double>(change.gained);
  change.delta = (gained - lost) / n;
  // Of d in {-1, 0, 1}: sum of squares about the mean = lost + gained - n D^2.
  const double squares = std::max(0.0, lost + gained - n * change.delta * change.delta);
  if (before.size() > 1) change.standard_error = std::sqrt(squares / (n - 1) / n);
  change.mcnemar_p = mcnemar_exact_p(change.lost, change.gained);
  return change;
}

double mcnemar_exact_p(size_t lost, size_t gained) {
  const size_t fewer = std::min(lost, gained);
  if (lost == gained) return 1;
  const auto n = static_cast<double>(lost + gained), k = static_cast<double>(fewer);
  // From the largest term down, as shares of it: 2^-n alone would underflow from 1,075 pairs on.
  double term = 1, sum = 1;
  for (double i = k; i >= 1; --i) sum += term *= i / (n - i + 1);
  const double log_largest =
      std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) - n * std::log(2.0);
  return std::min(1.0, 2 * sum * std::exp(log_largest));
}

}  // namespace fathom
