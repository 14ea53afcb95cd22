#pragma once
// Diagnoses and sweeps as `fathom probe --json` and `fathom prune --sweep --json` write them, made up.

#include <cmath>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace fathom {

/// A full diagnosis of L layers in which layer l has the value l / 10 everywhere.
inline nlohmann::json probe_json(size_t L, const std::string& model = "models/tiny") {
  using nlohmann::json;
  const std::vector<std::string> keys{
      "variance",         "rms",         "block_influence", "angular_distance",   "attn_contribution",
      "mlp_contribution", "attn_cosine", "mlp_cosine",      "identity_deviation", "usefulness",
      "lens_loss",        "lens_kl",     "lens_top5",       "delta_loss",         "loss_without"};
  json layers = json::array(), angles = json::array(), square = json::array();
  for (size_t l = 1; l <= L; ++l) {
    json layer{{"layer", l}, {"grad_norm", 0.5}};
    for (const std::string& key : keys) {
      layer[key] = static_cast<double>(l) / 10;
      layer[key + "_stderr"] = 0.01;
    }
    layers.push_back(layer);
    angles.push_back(std::vector<double>(L - l + 1, 0.1 * static_cast<double>(l)));
    square.push_back(std::vector<double>(L, 0.25));
  }
  return {{"model", model},
          {"dtype", "fp32"},
          {"layers", L},
          {"tokens", 1000},
          {"sequences", 10},
          {"seq", 100},
          {"loss", 3.0},
          {"loss_stderr", 0.1},
          {"perplexity", std::exp(3.0)},
          {"embedding",
           {{"variance", 0.05}, {"rms", 0.2}, {"lens_loss", 9.0}, {"lens_kl", 4.0}, {"lens_top5", 0.0}}},
          {"per_layer", layers},
          {"angular_matrix_all", angles},
          {"angular_matrix_last", angles},
          {"causal_score", square},
          {"permutation_score", square},
          {"permutation_tokens", 500},
          {"variance_growth",
           {{"law", "linear"},
            {"slope", 0.1},
            {"exponent", 1.0},
            {"rate", 0.2},
            {"aicc", {{"linear", -10.0}, {"power", -5.0}, {"exponential", 1.0}}}}},
          {"usefulness_share", 1.0},
          {"summary", {"A sentence -> of the program."}}};
}

/// A sweep with these costs of layers 1, 2, ...
inline nlohmann::json sweep_json(const std::vector<double>& deltas,
                                 const std::string& model = "models/tiny") {
  nlohmann::json removed = nlohmann::json::array();
  for (size_t l = 1; l <= deltas.size(); ++l)
    removed.push_back({{"layers", {l}},
                       {"loss", 3 + deltas[l - 1]},
                       {"delta_loss", deltas[l - 1]},
                       {"delta_loss_stderr", 0.01}});
  return {
      {"model", model}, {"loss", 3.0}, {"perplexity", std::exp(3.0)}, {"tokens", 1000}, {"removed", removed}};
}

}  // namespace fathom
