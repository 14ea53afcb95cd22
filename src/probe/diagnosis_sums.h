#pragma once
// What a diagnosis adds up, and the JSON that comes of it.

#include <initializer_list>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "probe/diagnosis.h"
#include "probe/diagnosis_state.h"
#include "probe/identity_deviation.h"
#include "probe/interventions.h"
#include "probe/lens.h"
#include "probe/stream_metrics.h"
#include "probe/usefulness.h"

namespace fathom {

template <class S>
struct DiagnosisMetrics {
  DiagnosisMetrics(size_t num_layers, const DiagnosisOptions& options);

  bool wants(const std::string& metric) const { return options.metrics.contains(metric); }
  bool any(std::initializer_list<const char*> metrics) const;
  /// Everything, for DiagnosisState.
  DiagnosisSums sums();
  /// The keys of the result. `plans` tells which layer of the trained model each one was.
  nlohmann::json result(const std::vector<LayerPlan>& plans) const;

  const DiagnosisOptions& options;
  size_t L;
  std::vector<SequenceMean> loss;  ///< one entry
  StreamStatistics<S> statistics;
  BlockInfluence<S> influence;
  StepContributions<S> steps;
  AngularDistances<S> angles;
  LogitLens<S> lens;
  LayerRemoval<S> removal;
  CausalScore<S> causal;
  LayerPermutation<S> permutation;
  IdentityDeviation<S> deviation;
  LayerUsefulness<S> usefulness;
  std::vector<double> gradient_norms;  ///< empty: not measured
  std::string gradient_reason;         ///< why not
  uint64_t permutation_tokens = 0, lens_tokens = 0;

 private:
  void add_stream(nlohmann::json& entry, size_t l) const;
  void add_layer(nlohmann::json& entry, size_t l) const;
  void add_matrices(nlohmann::json& out) const;
  void add_growth(nlohmann::json& out) const;
  void add_removal(nlohmann::json& out) const;
};

/// The keys of the usefulness, into a result.
void add_usefulness(nlohmann::json& out, const Usefulness& usefulness);

}  // namespace fathom
