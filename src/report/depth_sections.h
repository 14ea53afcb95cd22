#pragma once
// What a page says of diagnoses: its headline and its sections, of blocks of page.h.

#include <vector>

#include <nlohmann/json.hpp>

#include "report/compare.h"

namespace fathom {

/// What the numbers come to, in large letters: effective depth, what may be cut at what price. Null where
/// there is nothing to say.
nlohmann::json headline_block(const RunComparison& comparison);

/// The summaries that the diagnoses carry, and what each does not have.
std::vector<std::string> diagnosis_sentences(const RunComparison& comparison);

/// {"title", "intro", "blocks"} each, those without blocks left out: removal first, then the metrics over
/// depth, and all values at last.
std::vector<nlohmann::json> depth_sections(const RunComparison& comparison);

/// The definitions of all metrics that may stand on a page, by their index in metric_definitions().
nlohmann::json definitions_json();

}  // namespace fathom
