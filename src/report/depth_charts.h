#pragma once
// The metrics of diagnoses over depth, as blocks of page.h: charts with one curve a model, heat maps with one
// map a model. A block is null where no model has the values.

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "report/probe_record.h"

namespace fathom {

using Probes = std::vector<ProbeRecord>;

/// The charts of one section of the page, those that some model has values for.
nlohmann::json stream_charts(const Probes& probes);    ///< Variance with its growth law, RMS.
nlohmann::json change_charts(const Probes& probes);    ///< Angles, influence, contributions, cosines.
nlohmann::json function_charts(const Probes& probes);  ///< Identity deviation, usefulness, gradients.
nlohmann::json lens_charts(const Probes& probes);
/// Metrics that have no chart of their own, by their keys: of another version of the program.
nlohmann::json other_charts(const Probes& probes);

/// The fitted variance at layer l = 1 .. L: c of the law is the mean of what its slope leaves, which is its
/// least-squares value for that slope. Empty where there is no law that we know.
std::vector<double> fitted_variance(const ProbeRecord& probe);

/// "power law, variance as depth^2.46 (AICc ...)"; "" where there is no fit.
std::string growth_text(const ProbeRecord& probe);

/// Names of the metrics that no layer of `probe` has a value for.
std::vector<std::string> missing_metrics(const ProbeRecord& probe);

}  // namespace fathom
