#pragma once
// What a change to a model does to its accuracy, on the same items before and after. Items that are hard for
// one are hard for the other, so that the difference is known far better than either accuracy.

#include <cstddef>
#include <optional>
#include <vector>

namespace fathom {

/// Accuracy after a change minus accuracy before it, over the same n items.
struct AccuracyChange {
  double delta = 0;
  /// d_i in {-1, 0, 1} the difference of item i's correctness, D their mean:
  ///     SE = sqrt(sum (d_i - D)^2 / (n - 1)) / sqrt(n)
  /// Nothing for a single item. It covers the choice of items, as a sample of all that might have been asked.
  /// Source: Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640 (paired differences of questions).
  std::optional<double> standard_error;
  size_t lost = 0;    ///< items that were right before, and are wrong after
  size_t gained = 0;  ///< items that were wrong before, and are right after
  double mcnemar_p = 1;

  /// Whether delta lies within two standard errors of zero; nothing where there is no standard error.
  std::optional<bool> within_noise() const;
};

/// Errors: Error (internal) where the two are not of the same items, or of none.
AccuracyChange accuracy_change(const std::vector<bool>& before, const std::vector<bool>& after);

/// The exact two-sided p of McNemar's test: of `lost` and `gained`, the discordant pairs, each is as likely
/// as the other if the change does nothing; p = min(1, 2 P(X <= min(lost, gained))), X binomial (lost +
/// gained, 1/2). 1 without discordant pairs. Source: McNemar 1947, "Note on the sampling error of the
/// difference between correlated proportions or percentages", Psychometrika 12(2), 153-157; the exact form in
/// place of his chi-square is the sign test's.
double mcnemar_exact_p(size_t lost, size_t gained);

}  // namespace fathom
