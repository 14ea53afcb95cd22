#include "probe/diagnosis_sums.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "probe/growth.h"
#include "probe/sweep.h"

namespace fathom {
namespace {

using nlohmann::json;

json or_null(double value) { return std::isfinite(value) ? json(value) : json(); }

void put(json& entry, const std::string& key, const SequenceMean& mean) {
  entry[key] = or_null(mean.mean());
  entry[key + "_stderr"] = or_null(mean.standard_error());
}

// A matrix of means and, beside it, of their standard errors; 0 where nothing is to be measured (a layer's
// causal score on those before it).
void put_matrix(json& out, const std::string& key, const std::vector<std::vector<SequenceMean>>& rows) {
  json &values = out[key] = json::array(), &errors = out[key + "_stderr"] = json::array();
  for (const auto& row : rows) {
    json line = json::array(), error_line = json::array();
    for (const SequenceMean& m : row) {
      const bool there = m.sequences() > 0;
      line.push_back(there ? or_null(m.mean()) : json(0.0));
      error_line.push_back(there ? or_null(m.standard_error()) : json(0.0));
    }
    values.push_back(std::move(line));
    errors.push_back(std::move(error_line));
  }
}

}  // namespace

template <class S>
DiagnosisMetrics<S>::DiagnosisMetrics(size_t num_layers, const DiagnosisOptions& options_)
    : options(options_),
      L(num_layers),
      loss(1),
      statistics(L),
      influence(L),
      steps(L),
      angles(L),
      lens(L),
      removal(L),
      causal(L),
      permutation(L),
      deviation(L, options.probes, options.seed),
      usefulness(L) {}

template <class S>
bool DiagnosisMetrics<S>::any(std::initializer_list<const char*> metrics) const {
  return std::any_of(metrics.begin(), metrics.end(), [&](const char* m) { return wants(m); });
}

template <class S>
DiagnosisSums DiagnosisMetrics<S>::sums() {
  DiagnosisSums all{{&loss,
                     &statistics.variance,
                     &statistics.rms,
                     &statistics.variance_without_first,
                     &statistics.rms_without_first,
                     &influence.influence,
                     &steps.attn_contribution,
                     &steps.mlp_contribution,
                     &steps.attn_cosine,
                     &steps.mlp_cosine,
                     &steps.attn_variance,
                     &steps.mlp_variance,
                     &steps.attn_rms,
                     &steps.mlp_rms,
                     &lens.loss,
                     &lens.kl,
                     &lens.top5,
                     &removal.loss_without,
                     &removal.delta,
                     &deviation.by_sequence,
                     &deviation.by_probe,
                     &usefulness.loss,
                     &usefulness.difference},
                    {&permutation_tokens, &lens_tokens, &deviation.sequences_seen, &usefulness.left_out},
                    &gradient_norms};
  for (auto* matrix : {&angles.all_tokens, &angles.last_token, &causal.score, &permutation.relative_change}) {
    for (std::vector<SequenceMean>& row : *matrix) all.means.push_back(&row);
  }
  return all;
}

template <class S>
json DiagnosisMetrics<S>::result(const std::vector<LayerPlan>& plans) const {
  json out{{"layers", L}};
  put(out, "loss", loss[0]);
  const double perplexity = std::exp(loss[0].mean());
  out["perplexity"] = or_null(perplexity);
  out["perplexity_stderr"] = or_null(perplexity * loss[0].standard_error());
  add_stream(out["embedding"], 0);
  for (size_t l = 1; l <= L; ++l) {
    json layer{{"layer", l}};
    if (plans[l - 1].index != l) layer["original_layer"] = plans[l - 1].index;
    add_stream(layer, l);
    add_layer(layer, l - 1);
    out["per_layer"].push_back(layer);
  }
  add_matrices(out);
  if (any({"lens_loss", "lens_kl", "lens_top5"})) out["lens_tokens"] = lens_tokens;
  if (wants("identity_deviation")) {
    out["identity_deviation_probes"] = deviation.probes();
    if (deviation.probes() == 0) out["identity_deviation_exact"] = true;
  }
  if (!gradient_reason.empty()) out["grad_norm_reason"] = gradient_reason;
  if (wants("variance_growth")) add_growth(out);
  if (wants("effective_depth")) add_removal(out);
  return out;
}

template <class S>
void DiagnosisMetrics<S>::add_stream(json& entry, size_t l) const {
  if (wants("variance")) put(entry, "variance", statistics.variance[l]);
  if (wants("rms")) put(entry, "rms", statistics.rms[l]);
  if (wants("variance_without_first"))
    put(entry, "variance_without_first", statistics.variance_without_first[l]);
  if (wants("rms_without_first")) put(entry, "rms_without_first", statistics.rms_without_first[l]);
  if (wants("lens_loss")) put(entry, "lens_loss", lens.loss[l]);
  if (wants("lens_kl")) put(entry, "lens_kl", lens.kl[l]);
  if (wants("lens_top5")) put(entry, "lens_top5", lens.top5[l]);
}

template <class S>
void DiagnosisMetrics<S>::add_layer(json& entry, size_t l) const {
  const std::pair<const char*, const SequenceMean*> means[] = {
      {"block_influence", &influence.influence[l]},
      {"angular_distance", &angles.all_tokens[0][l]},
      {"attn_contribution", &steps.attn_contribution[l]},
      {"mlp_contribution", &steps.mlp_contribution[l]},
      {"attn_cosine", &steps.attn_cosine[l]},
      {"mlp_cosine", &steps.mlp_cosine[l]},
      {"attn_variance", &steps.attn_variance[l]},
      {"mlp_variance", &steps.mlp_variance[l]},
      {"attn_rms", &steps.attn_rms[l]},
      {"mlp_rms", &steps.mlp_rms[l]},
  };
  for (const auto& [key, mean] : means) {
    if (wants(key)) put(entry, key, *mean);
  }
  if (wants("identity_deviation")) {
    entry["identity_deviation"] = or_null(deviation.value(l));
    entry["identity_deviation_stderr"] = or_null(deviation.standard_error(l));
  }
  if (wants("effective_depth")) {
    put(entry, "loss_without", removal.loss_without[l]);
    put(entry, "delta_loss", removal.delta[l]);
  }
  if (wants("grad_norm")) entry["grad_norm"] = gradient_norms.empty() ? json() : or_null(gradient_norms[l]);
}

template <class S>
void DiagnosisMetrics<S>::add_matrices(json& out) const {
  if (wants("angular_matrix_all")) put_matrix(out, "angular_matrix_all", angles.all_tokens);
  if (wants("angular_matrix_last")) put_matrix(out, "angular_matrix_last", angles.last_token);
  if (wants("causal_score")) put_matrix(out, "causal_score", causal.score);
  if (!wants("permutation_score")) return;
  json &values = out["permutation_score"] = json::array(),
       &errors = out["permutation_score_stderr"] = json::array();
  for (size_t i = 0; i < L; ++i) {
    json row = json::array(), error_row = json::array();
    for (size_t j = 0; j < L; ++j) {
      row.push_back(or_null(permutation.score(i, j)));
      error_row.push_back(or_null(permutation.score_standard_error(i, j)));
    }
    values.push_back(row);
    errors.push_back(error_row);
  }
  out["permutation_tokens"] = permutation_tokens;
}

template <class S>
void DiagnosisMetrics<S>::add_growth(json& out) const {
  std::vector<double> variance;
  for (size_t l = 1; l <= L; ++l) variance.push_back(statistics.variance[l].mean());
  const auto fit = fit_growth(variance);
  if (!fit) {
    out["variance_growth"] = json();
    return;
  }
  out["variance_growth"] = {
      {"law", fit->law},
      {"exponent", fit->exponent},
      {"slope", fit->slope},
      {"rate", fit->rate},
      {"aicc",
       {{"linear", fit->aicc_linear}, {"power", fit->aicc_power}, {"exponential", fit->aicc_exponential}}},
      {"jump", {{"layer", fit->jump_layer}, {"factor", fit->jump_factor}, {"share", fit->jump_share}}},
      {"dominated_by_jump", fit->dominated_by_jump()}};
}

template <class S>
void DiagnosisMetrics<S>::add_removal(json& out) const {
  std::vector<double> deltas;
  for (const SequenceMean& delta : removal.delta) deltas.push_back(delta.mean());
  const std::optional<double> depth = effective_depth(deltas);
  out["effective_depth"] = depth ? or_null(*depth) : json();
  out["effective_depth_ratio"] = depth ? or_null(*depth / static_cast<double>(L)) : json();
}

void add_usefulness(json& out, const Usefulness& u) {
  for (size_t l = 0; l < out["per_layer"].size(); ++l) {
    json& layer = out["per_layer"][l];
    const bool there = l < u.value.size();
    layer["usefulness"] = there ? or_null(u.value[l]) : json();
    layer["usefulness_stderr"] = there ? or_null(u.standard_error[l]) : json();
  }
  out["usefulness_share"] = u.value.empty() ? json() : json(u.share);
  if (!u.reason.empty()) {
    out["usefulness_reason"] = u.reason;
  } else {
    out["usefulness_fitted_tokens"] = u.fitted_tokens;
    out["usefulness_scored_tokens"] = u.scored_tokens;
  }
}

template struct DiagnosisMetrics<double>;
template struct DiagnosisMetrics<float>;

}  // namespace fathom
