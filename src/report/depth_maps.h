#pragma once
// The matrices of diagnoses as heat maps, one map a model: blocks of page.h, null where no model has the
// matrix.

#include <vector>

#include <nlohmann/json.hpp>

#include "report/probe_record.h"

namespace fathom {

/// Angle by start and number of layers, in degrees, with the run of each length that turns the stream least.
nlohmann::json angle_map(const std::vector<ProbeRecord>& probes, bool last_token);
/// Layer left out by later layer.
nlohmann::json causal_map(const std::vector<ProbeRecord>& probes);
/// Layer by layer.
nlohmann::json permutation_map(const std::vector<ProbeRecord>& probes);

}  // namespace fathom
