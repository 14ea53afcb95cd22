#pragma once
// The page of `fathom compare --html`.

#include <string>

#include "report/compare.h"

namespace fathom {

/// The comparison as one HTML page that needs no network: the table, the curves, each layer's variance,
/// gradient norm and removal cost, the settings, and what the numbers mean and can't show. What a run lacks
/// is left out and named.
std::string comparison_page(const RunComparison& comparison);

}  // namespace fathom
