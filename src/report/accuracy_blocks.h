#pragma once
// What removing layers does to the accuracy on tasks, in words and as blocks of page.h.

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "report/removals.h"

namespace fathom {

/// One or two sentences a task, by its plain accuracy: which removals are within noise, the dearest, and
/// which score as a constant answer does. `what` is what was left out: "layer", "attn" or "mlp".
std::vector<std::string> accuracy_sentences(const std::vector<AccuracyRecord>& accuracies,
                                            const std::string& what);

/// A chart a task: the change by layer with its paired standard errors, a series a model, kind of removal and
/// metric.
std::vector<nlohmann::json> accuracy_charts(const std::vector<Removals>& removals);

/// A folded table a model and kind of removal, of all its tasks.
std::vector<nlohmann::json> accuracy_tables(const std::vector<Removals>& removals);

}  // namespace fathom
