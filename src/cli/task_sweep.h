#pragma once
// What leaving layers out does to accuracy on tasks. It stands here, and not in a library, because it joins
// what probe/ knows (which removals there are) with what eval/ knows (how items are scored), and the two do
// not know one another.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "eval/evaluate.h"
#include "eval/paired_accuracy.h"
#include "probe/interventions.h"

namespace fathom::cli {

/// A task without some layers, beside the whole model on the same items.
struct SweptScore {
  TaskResult result;
  AccuracyChange acc;
  std::optional<AccuracyChange> acc_norm;
};

struct SweptTask {
  TaskResult whole;
  std::vector<std::vector<double>> log_likelihoods;  ///< of the whole model, as score_task gives them
  std::vector<SweptScore> removed;
};

/// The removals as variants of the whole program of `num_layers` layers.
template <class S>
std::vector<ProgramVariant<S>> removal_variants(size_t num_layers, const std::vector<Removal>& removals);

/// Sums up what score_task has found: `values[i]` has the log-likelihoods of item i's choices under the whole
/// model, then without each of the removals. Errors: none.
SweptTask summarize_sweep(const PreparedTask& task, const std::vector<std::vector<double>>& values);

/// The table of a task, a row a removal by its name, and below it what must be said of rows that are no
/// scores.
std::string swept_task_text(const SweptTask& task, const std::vector<std::string>& names);

/// What "tasks" of an entry of "removed" holds of one task; docs/pruning.md lists the keys.
nlohmann::json swept_score_json(const SweptScore& score);

}  // namespace fathom::cli
