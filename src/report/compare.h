#pragma once
// Several runs side by side: one row of numbers a run, the paired differences, and what may be said about
// them.

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "report/paired.h"
#include "report/run.h"
#include "report/table.h"

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

struct RunComparison {
  std::vector<RunRecord> runs;  ///< With names that differ.
  std::vector<RunSummary> summaries;
  std::vector<Pairing> pairings;  ///< pairings[i] is runs[i + 1] against runs[0].
};

/// Reads the runs and sums them up. Errors: those of load_run; usage error where a run is given twice.
RunComparison compare_runs(const std::vector<std::filesystem::path>& folders);

RunSummary summarize(const RunRecord& run);

/// All validations of a run, by step: those of metrics.jsonl, with what evals/ adds.
std::vector<ValidationPoint> validations(const RunRecord& run);

/// The table of the runs.
Table summary_table(const RunComparison& comparison);

/// One sentence a pair, and what a reader must know before comparing the rows (other numbers of tokens, a
/// sweep that is missing).
std::vector<std::string> findings(const RunComparison& comparison);

/// What `fathom compare --json` writes:
/// {"runs": [{"name", "path", "norm", "seed", "parameters", "step", "tokens", "val_step", "val_loss",
/// "val_loss_stderr", "val_ppl", "val_ppl_stderr", "tokens_per_second", "variance_first", "variance_last",
/// "layers", "effective_depth", "effective_depth_ratio"}], "paired": [{"run", "versus", "reason", "steps":
/// [{"step", "tokens", "sequences", "val_loss_difference", "val_loss_difference_stderr", "verdict"}]}]}; null
/// where a run lacks a value.
nlohmann::json comparison_json(const RunComparison& comparison);

}  // namespace fathom
