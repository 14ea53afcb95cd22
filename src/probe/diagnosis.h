#pragma once
// The whole diagnosis of a model's depth: every metric of this folder over a text, in as few passes as they
// allow, as the JSON that `fathom probe` writes.

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/progress.h"
#include "model/transformer.h"
#include "text/windows.h"

namespace fathom {

struct DiagnosisOptions {
  /// Which metrics, by their JSON keys; see diagnosis_metrics().
  std::set<std::string> metrics;
  size_t batch_size = 8;               ///< sequences at a time
  size_t probes = 1;                   ///< sign vectors a sequence, for the identity deviation
  uint64_t seed = 1;                   ///< of the sign vectors
  uint64_t permutation_tokens = 1024;  ///< the permutation score costs L^2 / 3 passes: of the first tokens
};

/// All metrics; those that one forward pass gives (`--level quick`).
std::vector<std::string> diagnosis_metrics();
std::vector<std::string> quick_metrics();
/// The set of these names. Errors: Error (usage) for an unknown one, with the nearest.
std::set<std::string> parse_metrics(const std::vector<std::string>& names);

/// Passes over the text that the metrics take, in whole forward passes: the forecast.
double diagnosis_passes(const DiagnosisOptions& options, size_t num_layers, uint64_t tokens);

/// The result: keys as docs/metrics.md has them; `x_stderr` beside `x`, null where there is none.
/// `gradients` may be null where grad_norm is not asked for. Errors: those of Transformer::forward.
template <class W>
nlohmann::json diagnose(Transformer<W>& model, const TokenSequences& sequences,
                        const DiagnosisOptions& options, Gradients<Stream<W>>* gradients,
                        const std::vector<ParamSpec>& list, Progress& progress);

/// What the numbers say, in sentences for people.
std::vector<std::string> diagnosis_summary(const nlohmann::json& diagnosis);

}  // namespace fathom
