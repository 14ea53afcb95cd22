#pragma once
// The charts of a comparison, as blocks of page.h.

#include <nlohmann/json.hpp>

#include "report/compare.h"

namespace fathom {

/// Training loss, smoothed, and validation loss over tokens.
nlohmann::json loss_chart(const Comparison& c);
/// The paired differences over training; null where no pair was evaluated twice.
nlohmann::json difference_chart(const Comparison& c);
/// Variance and gradient norm by layer at each run's last probe; null where no run was probed.
nlohmann::json variance_chart(const Comparison& c);
nlohmann::json gradient_chart(const Comparison& c);
/// Layer by probe, one map a run; null where no run was probed twice.
nlohmann::json variance_map(const Comparison& c);
/// What removing each layer costs, and how many layers that amounts to, for the runs that have a sweep.
nlohmann::json removal_chart(const Comparison& c);
nlohmann::json depth_meters(const Comparison& c);

}  // namespace fathom
