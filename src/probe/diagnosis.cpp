#include "probe/diagnosis.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "kernels/vector_ops.h"
#include "probe/growth.h"
#include "probe/identity_deviation.h"
#include "probe/interventions.h"
#include "probe/lens.h"
#include "probe/sequence_batches.h"
#include "probe/stream_metrics.h"
#include "probe/sweep.h"
#include "probe/usefulness.h"

namespace fathom {
namespace {

using nlohmann::json;

json or_null(double value) { return std::isfinite(value) ? json(value) : json(); }

void put(json& entry, const std::string& key, const SequenceMean& mean) {
  entry[key] = or_null(mean.mean());
  entry[key + "_stderr"] = or_null(mean.standard_error());
}

json means(const std::vector<std::vector<SequenceMean>>& rows) {
  json out = json::array();
  for (const auto& row : rows) {
    json line = json::array();
    for (const SequenceMean& m : row) line.push_back(m.sequences() > 0 ? or_null(m.mean()) : json(0.0));
    out.push_back(line);
  }
  return out;
}

// All metrics over the batches of a text.
template <class W>
class Diagnosis {
 public:
  using S = Stream<W>;

  Diagnosis(Transformer<W>& model, const DiagnosisOptions& options, Gradients<S>* gradients,
            const std::vector<ParamSpec>& list)
      : model_(model),
        options_(options),
        gradients_(gradients),
        list_(list),
        L_(model.plans().size()),
        C_(model.config().hidden_size),
        statistics_(L_),
        influence_(L_),
        steps_(L_),
        record_(L_),
        angles_(L_),
        lens_(L_),
        removal_(L_),
        causal_(L_),
        permutation_(L_),
        deviation_(L_, options.probes, options.seed) {
    if (gradients_ != nullptr) gradients_->zero();
  }

  void add(const Batch& batch, uint64_t all_tokens) {
    std::vector<double> nll(batch.rows());
    model_.forward(nll.data(), batch,
                   observer_of<S>({&statistics_, &influence_, &steps_, &record_}, batch, C_));
    loss_.add_rows(nll.data(), batch);
    if (any({"angular_distance", "angular_matrix_all", "angular_matrix_last"}))
      angles_.add(record_, batch, C_);
    if (any({"lens_loss", "lens_kl", "lens_top5"})) lens_.add(model_, record_, batch);
    if (any({"causal_score", "effective_depth"}))
      removal_.add(model_, record_, nll.data(), batch, wants("causal_score") ? &causal_ : nullptr);
    if (wants("permutation_score") && permutation_tokens_ < options_.permutation_tokens) {
      // The first sequences alone, as many as it takes: streams and losses lie sequence by sequence.
      Batch part = batch;
      const uint64_t missing = options_.permutation_tokens - permutation_tokens_;
      part.B = std::min<size_t>(batch.B, (missing + batch.T - 1) / batch.T);
      permutation_.add(model_, record_, nll.data(), part);
      for (size_t r = 0; r < part.rows(); ++r) permutation_tokens_ += is_scored(part, r) ? 1 : 0;
    }
    if (wants("identity_deviation")) deviation_.add(model_, record_, batch);
    if (wants("grad_norm"))
      model_.forward_backward(batch, *gradients_, 1.0 / static_cast<double>(all_tokens), {.recompute = true});
  }

  json result() const {
    json out{{"layers", L_},
             {"loss", or_null(loss_.mean())},
             {"loss_stderr", or_null(loss_.standard_error())},
             {"perplexity", or_null(std::exp(loss_.mean()))}};
    json& embedding = out["embedding"];
    add_stream(embedding, 0);
    for (size_t l = 1; l <= L_; ++l) {
      json layer{{"layer", l}};
      if (model_.plans()[l - 1].index != l) layer["original_layer"] = model_.plans()[l - 1].index;
      add_stream(layer, l);
      add_layer(layer, l - 1);
      out["per_layer"].push_back(layer);
    }
    if (wants("angular_matrix_all")) out["angular_matrix_all"] = means(angles_.all_tokens);
    if (wants("angular_matrix_last")) out["angular_matrix_last"] = means(angles_.last_token);
    if (wants("causal_score")) out["causal_score"] = means(causal_.score);
    if (wants("permutation_score")) add_permutation(out);
    if (wants("identity_deviation")) out["identity_deviation_probes"] = deviation_.probes();
    if (wants("variance_growth")) add_growth(out);
    if (wants("effective_depth")) add_removal(out);
    return out;
  }

 private:
  bool wants(const std::string& metric) const { return options_.metrics.contains(metric); }
  bool any(std::initializer_list<const char*> metrics) const {
    return std::any_of(metrics.begin(), metrics.end(), [&](const char* m) { return wants(m); });
  }

  void add_stream(json& entry, size_t l) const {
    if (wants("variance")) put(entry, "variance", statistics_.variance[l]);
    if (wants("rms")) put(entry, "rms", statistics_.rms[l]);
    if (wants("lens_loss")) put(entry, "lens_loss", lens_.loss[l]);
    if (wants("lens_kl")) put(entry, "lens_kl", lens_.kl[l]);
    if (wants("lens_top5")) put(entry, "lens_top5", lens_.top5[l]);
  }

  void add_layer(json& entry, size_t l) const {
    if (wants("block_influence")) put(entry, "block_influence", influence_.influence[l]);
    if (wants("angular_distance")) put(entry, "angular_distance", angles_.all_tokens[0][l]);
    if (wants("attn_contribution")) put(entry, "attn_contribution", steps_.attn_contribution[l]);
    if (wants("mlp_contribution")) put(entry, "mlp_contribution", steps_.mlp_contribution[l]);
    if (wants("attn_cosine")) put(entry, "attn_cosine", steps_.attn_cosine[l]);
    if (wants("mlp_cosine")) put(entry, "mlp_cosine", steps_.mlp_cosine[l]);
    if (wants("identity_deviation")) {
      entry["identity_deviation"] = or_null(deviation_.value(l));
      entry["identity_deviation_stderr"] = or_null(deviation_.standard_error(l));
    }
    if (wants("effective_depth")) {
      put(entry, "loss_without", removal_.loss_without[l]);
      put(entry, "delta_loss", removal_.delta[l]);
    }
    if (wants("grad_norm")) {
      double squares = 0;
      for (const ParamSpec& spec : list_) {
        if (spec.layer == static_cast<int>(l))
          squares += sum_squares(gradients_->values() + spec.offset, spec.size());
      }
      entry["grad_norm"] = or_null(std::sqrt(squares));
    }
  }

  void add_permutation(json& out) const {
    json& matrix = out["permutation_score"] = json::array();
    for (size_t i = 0; i < L_; ++i) {
      json row = json::array();
      for (size_t j = 0; j < L_; ++j) row.push_back(or_null(permutation_.score(i, j)));
      matrix.push_back(row);
    }
    out["permutation_tokens"] = permutation_tokens_;
  }

  void add_growth(json& out) const {
    std::vector<double> variance;
    for (size_t l = 1; l <= L_; ++l) variance.push_back(statistics_.variance[l].mean());
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
         {{"linear", fit->aicc_linear}, {"power", fit->aicc_power}, {"exponential", fit->aicc_exponential}}}};
  }

  void add_removal(json& out) const {
    std::vector<double> deltas;
    for (const SequenceMean& delta : removal_.delta) deltas.push_back(delta.mean());
    const std::optional<double> depth = effective_depth(deltas);
    out["effective_depth"] = depth ? json(*depth) : json();
    out["effective_depth_ratio"] = depth ? json(*depth / static_cast<double>(L_)) : json();
  }

  Transformer<W>& model_;
  const DiagnosisOptions& options_;
  Gradients<S>* gradients_;
  const std::vector<ParamSpec>& list_;
  const size_t L_, C_;
  SequenceMean loss_;
  StreamStatistics<S> statistics_;
  BlockInfluence<S> influence_;
  StepContributions<S> steps_;
  StreamRecorder<S> record_;
  AngularDistances<S> angles_;
  LogitLens<S> lens_;
  LayerRemoval<S> removal_;
  CausalScore<S> causal_;
  LayerPermutation<S> permutation_;
  IdentityDeviation<S> deviation_;
  uint64_t permutation_tokens_ = 0;
};

void add_usefulness(json& out, const Usefulness& u) {
  for (size_t l = 0; l < out["per_layer"].size(); ++l) {
    json& layer = out["per_layer"][l];
    const bool there = l < u.value.size();
    layer["usefulness"] = there ? or_null(u.value[l]) : json();
    layer["usefulness_stderr"] = there ? or_null(u.standard_error[l]) : json();
  }
  out["usefulness_share"] = u.value.empty() ? json() : json(u.share);
  if (!u.reason.empty()) out["usefulness_reason"] = u.reason;
}

}  // namespace

std::vector<std::string> quick_metrics() {
  return {"variance",         "rms",         "block_influence", "angular_distance",   "attn_contribution",
          "mlp_contribution", "attn_cosine", "mlp_cosine",      "angular_matrix_all", "angular_matrix_last",
          "lens_loss",        "lens_kl",     "lens_top5",       "variance_growth"};
}

std::vector<std::string> diagnosis_metrics() {
  std::vector<std::string> all = quick_metrics();
  for (const char* name : {"identity_deviation", "grad_norm", "usefulness", "causal_score",
                           "permutation_score", "effective_depth"})
    all.emplace_back(name);
  return all;
}

std::set<std::string> parse_metrics(const std::vector<std::string>& names) {
  const std::vector<std::string> known = diagnosis_metrics();
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string list;
    for (const std::string& k : known) list += (list.empty() ? "" : ", ") + k;
    const std::string close = nearest(name, known);
    usage_error("unknown metric '" + name + "'",
                (close.empty() ? "" : "did you mean '" + close + "'? ") + ("known: " + list));
  }
  return {names.begin(), names.end()};
}

double diagnosis_passes(const DiagnosisOptions& o, size_t num_layers, uint64_t tokens) {
  const auto L = static_cast<double>(num_layers);
  const auto wants = [&](const char* m) { return o.metrics.contains(m); };
  double passes = 1;
  if (wants("causal_score") || wants("effective_depth")) passes += (L - 1) / 2;
  if (wants("usefulness")) passes += 1 + L / 4;
  if (wants("grad_norm")) passes += 4;
  if (wants("identity_deviation")) passes += 1 + static_cast<double>(o.probes);
  if (wants("permutation_score") && tokens > 0) {
    const double share =
        std::min(1.0, static_cast<double>(o.permutation_tokens) / static_cast<double>(tokens));
    passes += share * L * L / 3;
  }
  return passes;
}

template <class W>
json diagnose(Transformer<W>& model, const TokenSequences& sequences, const DiagnosisOptions& options,
              Gradients<Stream<W>>* gradients, const std::vector<ParamSpec>& list, Progress& progress) {
  SequenceBatches batches(sequences, options.batch_size);
  const uint64_t tokens = batches.tokens();
  Diagnosis<W> diagnosis(model, options, gradients, list);
  progress.begin("probe", tokens, "tokens");
  uint64_t done = 0;
  for (size_t i = 0; i < batches.count(); ++i) {
    const Batch batch = batches[i];
    diagnosis.add(batch, tokens);
    for (size_t r = 0; r < batch.rows(); ++r) done += is_scored(batch, r) ? 1 : 0;
    progress.update(done);
  }
  progress.end();
  json out = diagnosis.result();
  out["tokens"] = tokens;
  out["sequences"] = sequences.size();
  if (options.metrics.contains("usefulness"))
    add_usefulness(out, measure_usefulness(model, sequences, options.batch_size, progress));
  return out;
}

template json diagnose<double>(Transformer<double>&, const TokenSequences&, const DiagnosisOptions&,
                               Gradients<double>*, const std::vector<ParamSpec>&, Progress&);
template json diagnose<float>(Transformer<float>&, const TokenSequences&, const DiagnosisOptions&,
                              Gradients<float>*, const std::vector<ParamSpec>&, Progress&);
template json diagnose<bf16>(Transformer<bf16>&, const TokenSequences&, const DiagnosisOptions&,
                             Gradients<float>*, const std::vector<ParamSpec>&, Progress&);

}  // namespace fathom
