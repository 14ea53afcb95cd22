#pragma once
// The charts of a comparison, as blocks of page.h.

#include <nlohmann/json.hpp>

#include "report/compare.h"

namespace fathom {

/// Training loss, smoothed, and validation loss over tokens.
nlohmann::json loss_chart(const RunComparison& c);
/// The paired differences over training; null where no pair was evaluated twice.
nlohmann::json difference_chart(const RunComparison& c);
/// Variance and gradient norm by layer at each run's last probe; null where no run was probed.
nlohmann::json variance_chart(const RunComparison& c);
nlohmann::json gradient_chart(const RunComparison& c);
/// Layer by probe, one map a run; null where no run was probed twice.
nlohmann::json variance_map(const RunComparison& c);

}  // namespace fathom
