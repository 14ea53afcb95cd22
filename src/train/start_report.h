#pragma once
// The first lines of a run: what trains, what it takes, and which constants its norms really apply.

#include "model/effective_constants.h"
#include "model/memory_plan.h"
#include "train/run_plan.h"

namespace fathom {

/// Tells model, data, length, machine and memory through log_info.
void report_run(const RunPlan& plan, const MemoryPlan& memory, uint64_t available);

/// Tells each layer's measured constants (neighbours that are alike in one line). Errors: Error where one
/// deviates from the configured by more than kConstantTolerance: the scheme is not in force.
void check_constants(const std::vector<LayerConstants>& constants);

}  // namespace fathom
