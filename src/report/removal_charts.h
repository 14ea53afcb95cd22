#pragma once
// What removing layers costs, as blocks of page.h.

#include <vector>

#include <nlohmann/json.hpp>

#include "report/removals.h"

namespace fathom {

/// Cost by layer, one series a model and kind of removal; null where there is none.
nlohmann::json removal_chart(const std::vector<Removals>& removals);
/// Cost of removing runs of layers, by the first of them; null where there is none.
nlohmann::json block_removal_chart(const std::vector<Removals>& removals);
/// Effective depth of each model; null where there is none.
nlohmann::json depth_meters(const std::vector<Removals>& removals);

}  // namespace fathom
