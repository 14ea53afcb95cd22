// Check (c) of the proof kit: layers whose metrics are known beforehand, in the weights of a real model,
// under the diagnosis that `fathom probe` runs.

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "cli/selftest_checks.h"
#include "model/tiny_model.h"
#include "probe/diagnosis.h"
#include "probe/stream_metrics.h"

namespace fathom::cli {
namespace {

CheckResult planted_directions() {
  const double a[] = {1, 2, -3, 0.5}, opposite[] = {-2, -4, 6, -1};
  Worst worst;
  worst.see(angular_distance(a, a, 4) == 0.0 ? 0.0 : 1.0);  // exactly 0, by no rounding of the cosine
  worst.see(std::abs(angular_distance(a, opposite, 4) - 1.0));
  for (double theta = 0.1; theta < 3.1; theta += 0.3) {
    const double x[] = {3, 0}, y[] = {std::cos(theta), std::sin(theta)};
    worst.see(std::abs(angular_distance(x, y, 2) - theta / M_PI));
  }
  return below(worst.value, 1e-7, "angular distance of equal, opposite and rotated vectors");
}

// The layers of the planted model, from the first on.
enum PlantedLayer : size_t { kIdentity, kRotated, kScaled, kLinear, kOrdinary, kPlantedLayers };
constexpr double kTheta = 0.3 * M_PI, kScale = 2;

// Five layers, of which the first four are linear maps x -> M x although nothing in the program knows it:
// each query sees its own key alone, so that attention adds O V N(x); the norm divides by one number, since
// all rows of the embedding have a root mean square of 1, and rotating and scaling keeps it the same for all
// tokens; the MLP adds nothing. With heads enough for V to be of full rank, V = I and O = rms (M - I).
TinyModel<float> planted_model() {
  ModelConfig config = tiny_config(NormType::kPre, kPlantedLayers);
  config.num_key_value_heads = config.num_attention_heads;
  config.sliding_window = 1;
  return TinyModel<float>(config);
}

// Row r, column c of M - I; `rng` draws that of the linear map.
double planted_entry(PlantedLayer layer, size_t r, size_t c, Rng& rng) {
  if (layer == kIdentity) return 0;
  if (layer == kScaled) return r == c ? kScale - 1 : 0;
  if (layer == kLinear) return 0.2 * rng.normal();
  if (r == c) return std::cos(kTheta) - 1;  // rotated in planes of two
  return (r ^ 1) == c ? (r < c ? -1 : 1) * std::sin(kTheta) : 0;
}

void plant(ResidentWeights<float>& weights) {
  const size_t C = weights.config().hidden_size;
  for (const ParamSpec& spec : weights.list()) {
    float* const values = weights.values(spec);
    if (spec.role == ParamRole::kEmbedding) {
      for (float* row = values; row < values + spec.size(); row += C) {
        double squares = 0;
        for (size_t i = 0; i < C; ++i) squares += static_cast<double>(row[i]) * row[i];
        for (size_t i = 0; i < C; ++i)
          row[i] = static_cast<float>(row[i] / std::sqrt(squares / static_cast<double>(C)));
      }
    }
    if (spec.layer < 0 || spec.layer >= static_cast<int>(kOrdinary)) continue;
    const auto layer = static_cast<PlantedLayer>(spec.layer);
    if (spec.role == ParamRole::kAttnNormIn) std::fill_n(values, spec.size(), 1.0f);
    if (spec.role != ParamRole::kV && spec.role != ParamRole::kO && spec.role != ParamRole::kDown) continue;
    std::fill_n(values, spec.size(), 0.0f);
    if (spec.role == ParamRole::kV) {
      for (size_t i = 0; i < C; ++i) values[i * C + i] = 1;
    }
    if (spec.role != ParamRole::kO) continue;
    Rng rng(5);
    const double rms = layer > kScaled ? kScale : 1;  // of what enters the layer
    for (size_t r = 0; r < C; ++r) {
      for (size_t c = 0; c < C; ++c)
        values[r * spec.shape[1] + c] = static_cast<float>(rms * planted_entry(layer, r, c, rng));
    }
  }
  weights.refresh();
}

nlohmann::json diagnosis_of(TinyModel<float>& m, uint64_t sequences, size_t tokens,
                            const std::vector<std::string>& metrics) {
  TokenSequences text;
  for (uint64_t s = 0; s < sequences; ++s)
    text.push_back(TinyBatch(1, tokens + 1, m.model.config().vocab_size, s).tokens);
  DiagnosisOptions options;
  options.metrics = parse_metrics(metrics);
  options.probes = 0;  // the exact Jacobian
  NoProgress progress;
  return diagnose(m.model, text, options, m.weights.list(), progress);
}

// The Jacobian is that of a short text: exact, it takes a product for each of its numbers.
nlohmann::json diagnosis_of_planted() {
  TinyModel<float> m = planted_model();
  plant(m.weights);
  nlohmann::json d = diagnosis_of(
      m, 16, 16,
      {"variance", "angular_distance", "block_influence", "attn_contribution", "attn_cosine", "usefulness"});
  const nlohmann::json exact = diagnosis_of(m, 1, 8, {"identity_deviation"});
  for (size_t l = 0; l < kPlantedLayers; ++l)
    d["per_layer"][l]["identity_deviation"] = exact["per_layer"][l]["identity_deviation"];
  return d;
}

// NaN where it was not measured.
double metric(const nlohmann::json& layer, const char* key) {
  return layer[key].is_number() ? layer[key].get<double>() : NAN;
}

CheckResult planted_layers_have_their_metrics() {
  const nlohmann::json d = diagnosis_of_planted();
  const nlohmann::json& layers = d["per_layer"];
  Worst worst;
  const auto hold = [&](PlantedLayer layer, const char* key, double expected) {
    worst.see(std::abs(metric(layers[layer], key) - expected), fmt::format("{} of layer {}", key, layer + 1));
  };
  // Of x -> M x: `angle` between the two over pi, |M x - x| / |x|, the cosine of M x - x and x.
  const auto hold_map = [&](PlantedLayer layer, double angle, double change, double cosine) {
    hold(layer, "angular_distance", angle);
    hold(layer, "block_influence", 1 - std::cos(M_PI * angle));
    hold(layer, "attn_contribution", change);
    hold(layer, "attn_cosine", cosine);
    // The norm takes one direction out of the Jacobian of what is added.
    const auto C = static_cast<double>(tiny_config(NormType::kPre).hidden_size);
    hold(layer, "identity_deviation", change * std::sqrt((C - 1) / C));
    hold(layer, "usefulness", 0);
  };
  hold_map(kIdentity, 0, 0, 0);
  hold_map(kRotated, kTheta / M_PI, 2 * std::sin(kTheta / 2), -std::sin(kTheta / 2));
  hold_map(kScaled, 0, kScale - 1, 1);
  hold(kLinear, "usefulness", 0);
  hold(kIdentity, "variance", metric(d["embedding"], "variance"));
  hold(kScaled, "variance", kScale * kScale * metric(layers[kRotated], "variance"));
  // A linear map that is none of the others, and a layer that is no linear map.
  const bool told_apart = metric(layers[kLinear], "block_influence") > 1e-2 &&
                          std::abs(metric(layers[kOrdinary], "usefulness")) > 1e-4;
  return {worst.value <= 1e-5 && told_apart,
          fmt::format("largest error, in {}: {:.1e} (limit 1e-05){}", worst.where, worst.value,
                      told_apart ? "" : "; other layers pass for planted ones")};
}

}  // namespace

std::vector<SelfCheck> planted_checks() {
  return {{"planted directions have their angular distances", planted_directions},
          {"planted layers (identity, rotated, scaled, linear)", planted_layers_have_their_metrics}};
}

}  // namespace fathom::cli
