#pragma once
// A task scored from beginning to end, or from where an earlier run stopped.

#include <functional>
#include <string>
#include <vector>

#include "core/progress.h"
#include "eval/requests.h"
#include "eval/results.h"

namespace fathom {

/// All that a task's log-likelihoods depend on beside the model: a hash of its requests.
uint64_t fingerprint_of(const PreparedTask& task);

/// Scores the items of `task` that `log_likelihoods` does not hold yet and appends them: of each choice in
/// order, first under `program`, then under each of its `variants` (1 + variants times choices values an
/// item). The program says which layers run: a model without some of its layers is scored as the whole one
/// is. `pack_done` is called now and then, when all that is in `log_likelihoods` may be kept. Errors: Error
/// where `log_likelihoods` holds more than the task's items; those of Transformer::run.
template <class W>
ScoringWork score_task(Transformer<W>& model, std::span<const ProgramStep<Stream<W>>> program,
                       const PreparedTask& task, size_t batch_tokens,
                       std::vector<std::vector<double>>& log_likelihoods, Progress& progress,
                       const std::function<void()>& pack_done = {},
                       std::span<const ProgramVariant<Stream<W>>> variants = {});

}  // namespace fathom
