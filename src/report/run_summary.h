#pragma once
// A run in one row of numbers.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "report/run.h"

namespace fathom {

/// The last validation of a run. Losses in nats a token; the standard errors are over sequences, that of the
/// perplexity by the delta method (perplexity times that of the loss). Step 0 and NaN where there was none.
struct ValidationPoint {
  uint64_t step = 0, tokens = 0;
  double loss = kMissing, loss_stderr = kMissing, perplexity = kMissing, perplexity_stderr = kMissing;
};

/// One row of the table. NaN: the run does not have it.
struct RunSummary {
  uint64_t step = 0, tokens = 0;  ///< Trained so far.
  ValidationPoint validation;
  double tokens_per_second = kMissing;  ///< Median over the logged steps.
  double variance_first = kMissing,
         variance_last = kMissing;  ///< Of the first and the last layer, at the last probe.
  size_t layers = 0;                ///< Of the removal sweep; 0 without one.
  double effective_depth = kMissing, effective_depth_ratio = kMissing;
};

RunSummary summarize(const RunRecord& run);

/// All validations of a run, by step: those of metrics.jsonl, with what evals/ adds.
std::vector<ValidationPoint> validations(const RunRecord& run);

}  // namespace fathom
