#include "probe/sweep.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "probe/interventions.h"
#include "probe/sequence_batches.h"

namespace fathom {
namespace {

nlohmann::json or_null(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}
nlohmann::json or_null(const std::optional<double>& value) {
  return value ? or_null(*value) : nlohmann::json();
}

}  // namespace

std::optional<double> effective_depth(std::span<const double> delta_losses) {
  double sum = 0, squares = 0;
  for (const double delta : delta_losses) {
    const double d = delta > 0 ? delta : 0;
    sum += d;
    squares += d * d;
  }
  if (!(squares > 0)) return std::nullopt;
  return sum * sum / squares;
}

template <class W>
SweepResult sweep_layers(Transformer<W>& model, const TokenSequences& sequences, size_t batch_size,
                         Progress& progress) {
  using S = Stream<W>;
  const size_t L = model.plans().size(), C = model.config().hidden_size;
  SequenceBatches batches(sequences, batch_size);
  LayerRemoval<S> removal(L);
  StreamRecorder<S> record(L);
  SweepResult result;
  const uint64_t runs_per_batch = L + L * (L - 1) / 2;
  progress.begin("sweep", batches.count() * runs_per_batch, "layer runs");
  uint64_t runs = 0;
  for (size_t i = 0; i < batches.count(); ++i) {
    const Batch batch = batches[i];
    std::vector<double> nll(batch.rows());
    model.forward(nll.data(), batch, observer_of<S>({&record}, batch, C));
    progress.update(runs += L);
    removal.add(model, record, nll.data(), batch, nullptr,
                [&](size_t s) { progress.update(runs += L - 1 - s); });
  }
  progress.end();

  result.tokens = batches.tokens();
  result.sequences = sequences.size();
  result.layer_runs = runs_per_batch;
  result.loss = removal.loss.mean();
  result.loss_stderr = removal.loss.standard_error();
  std::vector<double> deltas;
  for (size_t s = 0; s < L; ++s) {
    const SequenceMean& delta = removal.delta[s];
    result.removed.push_back({s + 1, model.plans()[s].index, removal.loss_without[s].mean(), delta.mean(),
                              delta.standard_error()});
    deltas.push_back(delta.mean());
  }
  result.effective_depth = effective_depth(deltas);
  if (result.effective_depth) result.effective_depth_ratio = *result.effective_depth / static_cast<double>(L);
  return result;
}

template <class W>
RemovalPrice price_removal(Transformer<W>& model, const TokenSequences& sequences,
                           std::span<const size_t> layers, size_t batch_size) {
  using S = Stream<W>;
  const size_t L = model.plans().size(), C = model.config().hidden_size;
  std::vector<size_t> positions;
  for (const size_t l : layers) positions.push_back(l - 1);
  const Program<S> without = program_without<S>(L, positions);
  SequenceBatches batches(sequences, batch_size);
  SequenceMean loss, loss_without, delta;
  for (size_t i = 0; i < batches.count(); ++i) {
    const Batch batch = batches[i];
    std::vector<double> nll(batch.rows()), other(batch.rows());
    model.forward(nll.data(), batch);
    Buffer<S> x(batch.rows() * C);
    model.embed(x.data(), batch);
    model.run(x.data(), without, batch);
    model.losses(other.data(), x.data(), batch.targets, batch.rows());
    loss.add_rows(nll.data(), batch);
    loss_without.add_rows(other.data(), batch);
    for (size_t r = 0; r < batch.rows(); ++r) other[r] -= nll[r];
    delta.add_rows(other.data(), batch);
  }
  return {batches.tokens(),    sequences.size(), loss.mean(),
          loss_without.mean(), delta.mean(),     delta.standard_error()};
}

nlohmann::json sweep_json(const SweepResult& r) {
  nlohmann::json removed = nlohmann::json::array();
  bool pruned = false;
  for (const RemovedLayer& layer : r.removed) pruned = pruned || layer.original != layer.layer;
  for (const RemovedLayer& layer : r.removed) {
    nlohmann::json entry{{"layers", {layer.layer}},
                         {"loss", or_null(layer.loss)},
                         {"perplexity", or_null(std::exp(layer.loss))},
                         {"delta_loss", or_null(layer.delta_loss)},
                         {"delta_loss_stderr", or_null(layer.delta_loss_stderr)}};
    if (pruned) entry["original_layers"] = {layer.original};
    removed.push_back(entry);
  }
  return {{"loss", or_null(r.loss)},
          {"loss_stderr", or_null(r.loss_stderr)},
          {"perplexity", or_null(std::exp(r.loss))},
          {"tokens", r.tokens},
          {"sequences", r.sequences},
          {"removed", removed},
          {"effective_depth", or_null(r.effective_depth)},
          {"effective_depth_ratio", or_null(r.effective_depth_ratio)}};
}

#define FATHOM_INSTANTIATE(W)                                                                             \
  template SweepResult sweep_layers<W>(Transformer<W>&, const TokenSequences&, size_t, Progress&);        \
  template RemovalPrice price_removal<W>(Transformer<W>&, const TokenSequences&, std::span<const size_t>, \
                                         size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
