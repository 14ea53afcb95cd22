#pragma once
// Where a step's time goes, kind of operation by kind, against the roofline of this machine.

#include <nlohmann/json.hpp>

#include "core/profile.h"

namespace fathom::cli {

/// What the machine does at most: operations a second, and bytes a second of a copy.
struct Roofline {
  double flops, bandwidth;
  /// The least seconds that so much work takes.
  double seconds(double flop, double bytes) const;
};

/// Prints a table of the profile over `steps` steps of `step_seconds` each (so much of it as no scope covers
/// is "other") and returns it: [{"kind", "seconds", "share", "calls", "flop", "bytes", "roofline_seconds",
/// "fraction_of_roofline"}], all per step, the longest first.
nlohmann::json report_breakdown(const Profile& profile, double step_seconds, size_t steps,
                                const Roofline& roof);

}  // namespace fathom::cli
