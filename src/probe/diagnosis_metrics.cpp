// The names of the metrics: what --metrics takes.

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "probe/diagnosis.h"

namespace fathom {

std::vector<std::string> quick_metrics() {
  return {
      "variance",         "rms",         "block_influence", "angular_distance",       "attn_contribution",
      "mlp_contribution", "attn_cosine", "mlp_cosine",      "angular_matrix_all",     "angular_matrix_last",
      "lens_loss",        "lens_kl",     "lens_top5",       "variance_growth",        "attn_variance",
      "mlp_variance",     "attn_rms",    "mlp_rms",         "variance_without_first", "rms_without_first"};
}

std::vector<std::string> diagnosis_metrics() {
  std::vector<std::string> all = quick_metrics();
  for (const char* name : {"identity_deviation", "grad_norm", "usefulness", "causal_score",
                           "permutation_score", "effective_depth"})
    all.emplace_back(name);
  return all;
}

namespace {

// Keys of the result that are not named as the metric that they come of.
constexpr std::pair<const char*, const char*> kKeysOfMetrics[] = {
    {"usefulness_share", "usefulness"},
    {"usefulness_reason", "usefulness"},
    {"effective_depth_ratio", "effective_depth"},
    {"delta_loss", "effective_depth"},
    {"loss_without", "effective_depth"},
    {"identity_deviation_probes", "identity_deviation"},
    {"grad_norm_reason", "grad_norm"},
    {"permutation_tokens", "permutation_score"},
    {"lens_tokens", "lens_loss"}};

std::string metric_of_key(const std::string& key) {
  constexpr std::string_view kError = "_stderr";
  const std::string name = key.ends_with(kError) ? key.substr(0, key.size() - kError.size()) : key;
  for (const auto& [other, metric] : kKeysOfMetrics) {
    if (name == other) return metric;
  }
  return name;
}

}  // namespace

std::set<std::string> parse_metrics(const std::vector<std::string>& names) {
  const std::vector<std::string> known = diagnosis_metrics();
  std::set<std::string> metrics;
  for (const std::string& name : names) {
    const std::string metric = metric_of_key(name);
    if (metric == "loss" || metric == "perplexity") continue;
    if (std::find(known.begin(), known.end(), metric) != known.end()) {
      metrics.insert(metric);
      continue;
    }
    std::string list;
    for (const std::string& k : known) list += (list.empty() ? "" : ", ") + k;
    const std::string close = nearest(name, known);
    usage_error("unknown metric '" + name + "'",
                (close.empty() ? "" : "did you mean '" + close + "'? ") + ("known: " + list));
  }
  return metrics;
}

}  // namespace fathom
