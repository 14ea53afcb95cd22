#include "probe/sweep.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "probe/diagnosis_forecast.h"
#include "probe/sequence_batches.h"

namespace fathom {
namespace {

nlohmann::json or_null(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}
// A removal has no price where there is nothing to compare it with.
void require_finite(const std::vector<double>& nll, const Batch& batch) {
  for (size_t r = 0; r < batch.rows(); ++r) {
    if (is_scored(batch, r) && !std::isfinite(nll[r]))
      fail("the whole model's loss is not finite: no removal can be priced",
           "are its weights sound? fathom inspect MODEL; try --dtype fp32");
  }
}

nlohmann::json or_null(const std::optional<double>& value) {
  return value ? or_null(*value) : nlohmann::json();
}

void set_effective_depth(SweepResult& result, const std::vector<double>& deltas) {
  result.effective_depth = effective_depth(deltas);
  if (result.effective_depth)
    result.effective_depth_ratio = *result.effective_depth / static_cast<double>(deltas.size());
}

}  // namespace

Removed parse_removed(const std::string& name) {
  for (const Removed what : {Removed::kLayer, Removed::kAttention, Removed::kMlp}) {
    if (name == removed_name(what)) return what;
  }
  usage_error("unknown --what '" + name + "'", "known: layer, attn, mlp");
}

std::string removed_name(Removed what) {
  return what == Removed::kLayer ? "layer" : what == Removed::kAttention ? "attn" : "mlp";
}

SweepResult planned_sweep(const std::vector<LayerPlan>& plans, const SweepOptions& options) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  const size_t L = plans.size();
  // Whole layers: one must stay. Without all attention, or all MLPs, there still is a model.
  const size_t most = options.what == Removed::kLayer ? L - 1 : L;
  if (options.block == 0 || options.block > most) {
    usage_error("--block " + std::to_string(options.block) + " does not fit a model of " + std::to_string(L) +
                    " layers",
                most > 0 ? "give 1 to " + std::to_string(most) : "it has no layer to spare");
  }
  SweepResult result;
  result.options = options;
  result.loss = result.loss_stderr = kNone;
  for (const Removal& removal : every_run(L, options.block, options.what)) {
    SweptRemoval swept{{}, {}, kNone, kNone, kNone};
    for (size_t l = removal.begin; l < removal.begin + removal.count; ++l) {
      swept.layers.push_back(l + 1);
      swept.original.push_back(plans[l].index);
    }
    result.removed.push_back(std::move(swept));
  }
  return result;
}

template <class W>
SweepResult sweep_layers(Transformer<W>& model, const TokenSequences& sequences, const SweepOptions& options,
                         Progress& progress) {
  using S = Stream<W>;
  const size_t L = model.plans().size(), C = model.config().hidden_size;
  SweepResult result = planned_sweep(model.plans(), options);
  SequenceBatches batches(sequences, options.batch_size);
  model.set_rows_at_once(kDiagnosisRowsAtOnce);
  LayerRemoval<S> removal(whole_program<S>(L), every_run(L, options.block, options.what));
  StreamRecorder<S> record(L);
  uint64_t per_batch = sublayer_runs<S>(removal.program());
  for (size_t i = 0; i < removal.removals().size(); ++i) per_batch += removal.runs(i);
  progress.begin("sweep", batches.count() * per_batch, "sublayer runs");
  uint64_t runs = 0;
  for (size_t i = 0; i < batches.count(); ++i) {
    const Batch batch = batches[i];
    std::vector<double> nll(batch.rows());
    model.forward(nll.data(), batch, observer_of<S>({&record}, batch, C));
    require_finite(nll, batch);
    progress.update(runs += sublayer_runs<S>(removal.program()));
    removal.add(model, record, nll.data(), batch, nullptr,
                [&](size_t r) { progress.update(runs += removal.runs(r)); });
  }
  progress.end();

  result.tokens = batches.tokens();
  result.sequences = sequences.size();
  result.layer_runs = static_cast<double>(per_batch) / 2;
  result.loss = removal.loss.mean();
  result.loss_stderr = removal.loss.standard_error();
  std::vector<double> deltas;
  for (size_t i = 0; i < removal.removals().size(); ++i) {
    const SequenceMean& delta = removal.delta[i];
    SweptRemoval& swept = result.removed[i];
    swept.loss = removal.loss_without[i].mean();
    swept.delta_loss = delta.mean();
    swept.delta_loss_stderr = delta.standard_error();
    deltas.push_back(delta.mean());
  }
  if (options.block == 1 && options.what == Removed::kLayer) set_effective_depth(result, deltas);
  return result;
}

SweepResult sweep_of_diagnosis(const nlohmann::json& diagnosis, const std::vector<LayerPlan>& plans) {
  const auto number = [](const nlohmann::json& value) {
    return value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
  };
  SweepResult result = planned_sweep(plans, {});
  result.tokens = diagnosis["tokens"].get<uint64_t>();
  result.sequences = diagnosis["sequences"].get<uint64_t>();
  result.loss = number(diagnosis["loss"]);
  result.loss_stderr = number(diagnosis["loss_stderr"]);
  const size_t L = plans.size();
  result.layer_runs = static_cast<double>(L + L * (L - 1) / 2);
  std::vector<double> deltas;
  for (size_t l = 0; l < L; ++l) {
    const nlohmann::json& layer = diagnosis["per_layer"][l];
    SweptRemoval& swept = result.removed[l];
    swept.loss = number(layer["loss_without"]);
    swept.delta_loss = number(layer["delta_loss"]);
    swept.delta_loss_stderr = number(layer["delta_loss_stderr"]);
    deltas.push_back(swept.delta_loss);
  }
  set_effective_depth(result, deltas);
  return result;
}

template <class W>
std::vector<RemovalPrice> price_removals(Transformer<W>& model, const TokenSequences& sequences,
                                         const std::vector<std::vector<size_t>>& sets, size_t batch_size,
                                         Progress& progress) {
  using S = Stream<W>;
  const size_t L = model.plans().size(), C = model.config().hidden_size;
  std::vector<Program<S>> rest;  // of each set, from its first layer on
  for (const std::vector<size_t>& layers : sets) {
    std::vector<size_t> positions;
    for (const size_t l : layers) positions.push_back(l - 1);
    rest.push_back(program_without<S>(L, positions));
    rest.back().erase(rest.back().begin(), rest.back().begin() + static_cast<std::ptrdiff_t>(positions[0]));
  }
  SequenceBatches batches(sequences, batch_size);
  model.set_rows_at_once(kDiagnosisRowsAtOnce);
  StreamRecorder<S> record(L);
  Buffer<S> room;
  SequenceMean loss;
  std::vector<SequenceMean> loss_without(sets.size()), delta(sets.size());
  progress.begin("price", batches.count() * (sets.size() + 1), "passes");
  for (size_t i = 0; i < batches.count(); ++i) {
    const Batch batch = batches[i];
    std::vector<double> nll(batch.rows()), other(batch.rows());
    model.forward(nll.data(), batch, observer_of<S>({&record}, batch, C));
    require_finite(nll, batch);
    loss.add_rows(nll.data(), batch);
    progress.update(i * (sets.size() + 1) + 1);
    for (size_t s = 0; s < sets.size(); ++s) {
      losses_from<W>(model, other.data(), record.stream(sets[s][0] - 1), rest[s], batch, room);
      loss_without[s].add_rows(other.data(), batch);
      for (size_t r = 0; r < batch.rows(); ++r) other[r] -= nll[r];
      delta[s].add_rows(other.data(), batch);
      progress.update(i * (sets.size() + 1) + s + 2);
    }
  }
  progress.end();
  std::vector<RemovalPrice> prices;
  for (size_t s = 0; s < sets.size(); ++s) {
    prices.push_back({sets[s], batches.tokens(), sequences.size(), loss.mean(), loss.standard_error(),
                      loss_without[s].mean(), delta[s].mean(), delta[s].standard_error()});
  }
  return prices;
}

namespace {

nlohmann::json removed_entry(const std::vector<size_t>& layers, double loss, double delta, double error) {
  return {{"layers", layers},
          {"loss", or_null(loss)},
          {"perplexity", or_null(std::exp(loss))},
          {"delta_loss", or_null(delta)},
          {"delta_loss_stderr", or_null(error)}};
}

}  // namespace

nlohmann::json price_json(const RemovalPrice& p) {
  return removed_entry(p.layers, p.loss_without, p.delta_loss, p.delta_loss_stderr);
}

nlohmann::json sweep_json(const SweepResult& r) {
  nlohmann::json removed = nlohmann::json::array();
  const bool pruned = std::any_of(r.removed.begin(), r.removed.end(),
                                  [](const SweptRemoval& swept) { return swept.original != swept.layers; });
  for (const SweptRemoval& swept : r.removed) {
    removed.push_back(removed_entry(swept.layers, swept.loss, swept.delta_loss, swept.delta_loss_stderr));
    if (pruned) removed.back()["original_layers"] = swept.original;
  }
  return {{"loss", or_null(r.loss)},
          {"loss_stderr", or_null(r.loss_stderr)},
          {"perplexity", or_null(std::exp(r.loss))},
          {"tokens", r.tokens},
          {"sequences", r.sequences},
          {"what", removed_name(r.options.what)},
          {"block", r.options.block},
          {"layer_runs", r.layer_runs},
          {"removed", removed},
          {"effective_depth", or_null(r.effective_depth)},
          {"effective_depth_ratio", or_null(r.effective_depth_ratio)}};
}

#define FATHOM_INSTANTIATE(W)                                                                       \
  template SweepResult sweep_layers<W>(Transformer<W>&, const TokenSequences&, const SweepOptions&, \
                                       Progress&);                                                  \
  template std::vector<RemovalPrice> price_removals<W>(                                             \
      Transformer<W>&, const TokenSequences&, const std::vector<std::vector<size_t>>&, size_t, Progress&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
