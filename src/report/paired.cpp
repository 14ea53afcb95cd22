#include "report/paired.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "core/ratio_error.h"

namespace fathom {
namespace {

/// Why two evaluations of one step can't be paired, or "".
std::string mismatch(const EvaluationRecord& a, const EvaluationRecord& b) {
  if (a.data_fingerprint.empty()) return "the evaluations do not name their data";
  if (a.data_fingerprint != b.data_fingerprint) return "the validation data differ";
  if (a.seq != b.seq) return fmt::format("evaluated at sequence lengths {} and {}", a.seq, b.seq);
  if (a.count != b.count) return "evaluated on other sequences";
  if (a.tokens != b.tokens)
    return fmt::format("{} and {} tokens trained at step {}", a.tokens, b.tokens, a.step);
  return {};
}

}  // namespace

std::string PairedDifference::verdict() const {
  if (std::isnan(standard_error) || std::isnan(difference)) return "noise unknown";
  return std::abs(difference) <= 2 * standard_error ? "within noise" : "beyond noise";
}

PairedDifference paired_difference(const EvaluationRecord& first, const EvaluationRecord& other) {
  if (first.count != other.count) throw std::invalid_argument("paired_difference: other sequences");
  const size_t n = first.count.size();
  double sum = 0, tokens = 0;
  for (size_t i = 0; i < n; ++i) {
    sum += other.nll[i] - first.nll[i];
    tokens += static_cast<double>(first.count[i]);
  }
  PairedDifference out{
      .step = other.step, .tokens = other.tokens, .sequences = n, .difference = sum / tokens};
  double squares = 0;
  for (size_t i = 0; i < n; ++i) {
    const double rest = other.nll[i] - first.nll[i] - out.difference * static_cast<double>(first.count[i]);
    squares += rest * rest;
  }
  out.standard_error = ratio_standard_error(squares, n, tokens);
  return out;
}

Pairing pair_runs(const RunRecord& first, const RunRecord& other) {
  Pairing out;
  if (first.seed.empty() || other.seed.empty()) {
    out.reason = "run.toml does not name the seed";
  } else if (first.seed != other.seed) {
    out.reason = fmt::format("the seeds differ ({} and {})", first.seed, other.seed);
  } else if (first.data_fingerprint != other.data_fingerprint) {
    out.reason = "the training data differ";
  } else if (first.evaluations.empty() || other.evaluations.empty()) {
    out.reason = "one has no evaluation yet";
  }
  if (!out.reason.empty()) return out;
  out.reason = "never evaluated at the same step";
  for (const EvaluationRecord& b : other.evaluations) {
    const auto a = std::find_if(first.evaluations.begin(), first.evaluations.end(),
                                [&](const EvaluationRecord& e) { return e.step == b.step; });
    if (a == first.evaluations.end()) continue;
    std::string reason = mismatch(*a, b);
    if (reason.empty()) {
      out.steps.push_back(paired_difference(*a, b));
    } else {
      out.reason = std::move(reason);
    }
  }
  if (!out.steps.empty()) out.reason.clear();
  return out;
}

}  // namespace fathom
