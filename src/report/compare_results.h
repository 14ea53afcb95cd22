#pragma once
// What a comparison comes to: tables and sentences for people, JSON for programs.

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "report/compare.h"
#include "report/table.h"

namespace fathom {

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
