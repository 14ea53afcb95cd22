#pragma once
// Several models side by side, each a run directory or a saved diagnosis: one row of numbers a run, the
// paired differences, and what may be said about them.

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
  /// By place among the models: those of runs (which have the run's place), then those of files. A sweep
  /// without a diagnosis has the shape of one without metrics.
  std::vector<ProbeRecord> probes;

  /// Number of models: runs, and diagnoses that belong to none.
  size_t models() const;
  /// Whether the model at place `i` is a run.
  bool is_run(size_t i) const { return i < runs.size(); }
};

/// Reads run directories and the files that `fathom probe --json` and `fathom prune --sweep --json` wrote,
/// and sums them up. A sweep belongs to the diagnosis or run of the same "model", and stands alone where
/// there is none. Errors: those of load_run, read_probe, read_sweep; Error for a file that is neither; usage
/// error where one is given twice.
RunComparison compare_runs(const std::vector<std::filesystem::path>& paths);

/// A comparison of one diagnosis, as `fathom probe` has it in memory. `sweep` may be null.
RunComparison single_probe(const nlohmann::json& probe, const nlohmann::json& sweep);

RunSummary summarize(const RunRecord& run);

/// All validations of a run, by step: those of metrics.jsonl, with what evals/ adds.
std::vector<ValidationPoint> validations(const RunRecord& run);

/// The table of the runs, and that of the diagnoses.
Table summary_table(const RunComparison& comparison);
Table probe_table(const RunComparison& comparison);

/// One sentence a pair, and what a reader must know before comparing the rows (other numbers of tokens, a
/// sweep that is missing).
std::vector<std::string> findings(const RunComparison& comparison);

/// What `fathom compare --json` writes:
/// {"runs": [{"name", "path", "norm", "seed", "parameters", "step", "tokens", "val_step", "val_loss",
/// "val_loss_stderr", "val_ppl", "val_ppl_stderr", "tokens_per_second", "variance_first", "variance_last",
/// "layers", "effective_depth", "effective_depth_ratio"}], "paired": [{"run", "versus", "reason", "steps":
/// [{"step", "tokens", "sequences", "val_loss_difference", "val_loss_difference_stderr", "verdict"}]}],
/// "probes": [{"name", "path", "model", "layers", "tokens", "loss", "loss_stderr", "perplexity",
/// "variance_first", "variance_last", "effective_depth", "effective_depth_stderr", "effective_depth_ratio",
/// "cheapest_layer", "cheapest_delta_loss"}]}; null where a model lacks a value.
nlohmann::json comparison_json(const RunComparison& comparison);

}  // namespace fathom
