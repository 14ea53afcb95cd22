#pragma once
// Several models side by side, each a run directory or a saved diagnosis: what is read, and what belongs
// together. What it comes to is in compare_results.h.

#include <filesystem>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "report/paired.h"
#include "report/run.h"
#include "report/run_summary.h"

namespace fathom {

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

}  // namespace fathom
