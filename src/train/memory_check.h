#pragma once
// Whether a run fits into memory, and if not, which flags would make it fit.

#include <cstdint>
#include <functional>
#include <string>

#include "model/memory_plan.h"
#include "train/run_plan.h"

namespace fathom {

/// `plan(packed)` forecasts a step, its matrices packed or not: packed where that fits into `available`
/// bytes.
MemoryPlan plan_packed_if_it_fits(const std::function<MemoryPlan(bool packed)>& plan, uint64_t available);

/// What a step of the run takes, evaluation included: with the matrices packed where that fits into
/// `available` bytes too.
MemoryPlan plan_run_memory(const RunPlan& plan, uint64_t available);

/// "parameters 1.00 GiB, gradients ...": the parts that are there.
std::string memory_parts(const MemoryPlan& plan);

/// Errors: Error naming the parts where `plan` takes more than `available` bytes.
void require_memory(const MemoryPlan& plan, uint64_t available, const std::string& hint);

/// Errors: Error where the run takes more than `available` bytes; to be called before anything is allocated.
/// Names the parts, and the changes that would fit with their forecasts: --optimizer-state bf16, --recompute
/// and a smaller --batch at the same tokens a step; of a resumed run, which keeps what it computes,
/// --recompute alone.
void check_memory(const RunPlan& plan, uint64_t available);

}  // namespace fathom
