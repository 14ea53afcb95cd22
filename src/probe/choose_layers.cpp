#include "probe/choose_layers.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/error.h"
#include "probe/interventions.h"
#include "probe/sequence_batches.h"
#include "probe/stream_metrics.h"

namespace fathom {
namespace {

bool is_kept(const ChooseOptions& o, size_t place) {
  return std::binary_search(o.keep.begin(), o.keep.end(), place);
}

// The index of the smallest score; the first of equals. Errors: Error where none is a number.
size_t smallest(const std::vector<double>& scores) {
  size_t best = scores.size();
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isfinite(scores[i]) && (best == scores.size() || scores[i] < scores[best])) best = i;
  }
  if (best == scores.size()) {
    fail("no layer can be chosen: every score is infinite or no number",
         "does the model compute a finite loss on this text? try --dtype fp32");
  }
  return best;
}

std::vector<size_t> run_from(size_t first, size_t count) {
  std::vector<size_t> layers;
  for (size_t i = 0; i < count; ++i) layers.push_back(first + i);
  return layers;
}

// One pass of the whole model over all batches, watched.
template <class W>
void watch(Transformer<W>& model, const TokenSequences& sequences, size_t batch_size,
           const std::vector<StreamMetric<Stream<W>>*>& metrics, Progress& progress,
           const std::function<void(const Batch&)>& after_each = {}) {
  SequenceBatches batches(sequences, batch_size);
  progress.begin("choose", batches.count(), "batches");
  const size_t C = model.config().hidden_size;
  for (size_t i = 0; i < batches.count(); ++i) {
    const Batch batch = batches[i];
    std::vector<double> nll(batch.rows());
    model.forward(nll.data(), batch, observer_of<Stream<W>>(metrics, batch, C));
    if (after_each) after_each(batch);
    progress.update(i + 1);
  }
  progress.end();
}

// The run of n layers (its first, 1-based) of the smallest distance; distances[l] is of layers l + 1 to l +
// n.
std::pair<size_t, double> nearest_run(const std::vector<SequenceMean>& distances, size_t n,
                                      const ChooseOptions& o) {
  std::vector<double> scores;
  bool allowed_any = false;
  for (size_t l = 0; l < distances.size(); ++l) {
    bool allowed = true;
    for (size_t i = 1; i <= n; ++i) allowed = allowed && !is_kept(o, l + i);
    allowed_any = allowed_any || allowed;
    scores.push_back(allowed ? distances[l].mean() : INFINITY);
  }
  if (!allowed_any) {
    usage_error("no " + std::to_string(n) + " consecutive layers are free of protected ones",
                "protect fewer, or choose --by influence or loss");
  }
  const size_t best = smallest(scores);
  return {best + 1, scores[best]};
}

template <class W>
LayerChoice by_angle(Transformer<W>& model, const TokenSequences& sequences, const ChooseOptions& o,
                     Progress& progress) {
  using S = Stream<W>;
  const size_t L = model.plans().size(), C = model.config().hidden_size;
  StreamRecorder<S> record(L);
  AngularDistances<S> angles(L);
  watch(model, sequences, o.batch_size, {&record}, progress,
        [&](const Batch& batch) { angles.add(record, batch, C); });
  const auto& chosen = o.last_token ? angles.last_token : angles.all_tokens;
  const auto& other = o.last_token ? angles.all_tokens : angles.last_token;
  LayerChoice choice;
  for (size_t k = 1; k <= o.count; ++k) {
    const auto [first, distance] = nearest_run(chosen[k - 1], k, o);
    choice.sets.push_back(run_from(first, k));
    choice.scores.push_back(distance);
  }
  choice.by_other_tokens = run_from(nearest_run(other[o.count - 1], o.count, o).first, o.count);
  choice.layer_runs = static_cast<double>(L);
  return choice;
}

// Adds a layer (1-based) to the order, and the set with it.
void leave_out(LayerChoice& choice, size_t layer, double score) {
  choice.order.push_back(layer);
  choice.scores.push_back(score);
  choice.sets.push_back(choice.order);
  std::sort(choice.sets.back().begin(), choice.sets.back().end());
}

template <class W>
LayerChoice by_influence(Transformer<W>& model, const TokenSequences& sequences, const ChooseOptions& o,
                         Progress& progress) {
  const size_t L = model.plans().size();
  BlockInfluence<Stream<W>> influence(L);
  watch(model, sequences, o.batch_size, {&influence}, progress);
  std::vector<double> scores;
  for (size_t l = 0; l < L; ++l)
    scores.push_back(is_kept(o, l + 1) ? INFINITY : influence.influence[l].mean());
  LayerChoice choice;
  for (size_t k = 1; k <= o.count; ++k) {
    const size_t best = smallest(scores);
    leave_out(choice, best + 1, scores[best]);
    scores[best] = INFINITY;
  }
  choice.layer_runs = static_cast<double>(L);
  return choice;
}

// Single removals from `program`, but for the layers that are kept.
template <class S>
std::vector<Removal> candidates(const Program<S>& program, const ChooseOptions& o) {
  std::vector<Removal> removals = every_run(program.size());
  std::erase_if(removals, [&](const Removal& r) { return is_kept(o, program[r.begin].layer + 1); });
  return removals;
}

template <class W>
LayerChoice by_loss(Transformer<W>& model, const TokenSequences& sequences, const ChooseOptions& o,
                    Progress& progress) {
  using S = Stream<W>;
  const size_t L = model.plans().size(), C = model.config().hidden_size;
  LayerChoice choice;
  uint64_t runs = 0;
  Program<S> program = whole_program<S>(L);
  SequenceBatches batches(sequences, o.batch_size);
  for (size_t k = 1; k <= o.count; ++k) {
    LayerRemoval<S> removal(program, candidates(program, o));
    StreamRecorder<S> record(L);
    const size_t heads = removal.removals().size() + 1;
    progress.begin("choose layer " + std::to_string(k) + " of " + std::to_string(o.count),
                   batches.count() * heads, "losses");
    for (size_t i = 0; i < batches.count(); ++i) {
      const Batch batch = batches[i];
      const Observer<S> observer = observer_of<S>({&record}, batch, C);
      std::vector<double> nll(batch.rows());
      Buffer<S> x(batch.rows() * C);
      model.embed(x.data(), batch, observer);
      model.run(x.data(), program, batch, observer);
      model.losses(nll.data(), x.data(), batch.targets, batch.rows());
      progress.update(i * heads + 1);
      removal.add(model, record, nll.data(), batch, nullptr,
                  [&](size_t r) { progress.update(i * heads + r + 2); });
    }
    runs += sublayer_runs<S>(program);
    std::vector<double> deltas;
    for (size_t r = 0; r < removal.removals().size(); ++r) {
      deltas.push_back(removal.delta[r].mean());
      runs += removal.runs(r);
    }
    const size_t best = smallest(deltas), place = removal.removals()[best].begin;
    leave_out(choice, program[place].layer + 1, deltas[best]);
    progress.end("layer " + std::to_string(choice.order.back()));
    program.erase(program.begin() + static_cast<std::ptrdiff_t>(place));
  }
  choice.layer_runs = static_cast<double>(runs) / 2;
  return choice;
}

}  // namespace

ChooseBy parse_choose_by(const std::string& name) {
  if (name == "angular") return ChooseBy::kAngular;
  if (name == "influence") return ChooseBy::kInfluence;
  if (name == "loss") return ChooseBy::kLoss;
  usage_error("unknown --by '" + name + "'", "known: angular, influence, loss");
}

template <class W>
LayerChoice choose_layers(Transformer<W>& model, const TokenSequences& sequences,
                          const ChooseOptions& options, Progress& progress) {
  const size_t L = model.plans().size(), free = L - options.keep.size();
  if (options.count == 0 || options.count >= L || options.count > free) {
    usage_error("can't leave out " + std::to_string(options.count) + " of " + std::to_string(L) + " layers" +
                    (free < L ? ", " + std::to_string(L - free) + " of them protected" : ""),
                "at least one must stay");
  }
  switch (options.by) {
    case ChooseBy::kAngular:
      return by_angle(model, sequences, options, progress);
    case ChooseBy::kInfluence:
      return by_influence(model, sequences, options, progress);
    case ChooseBy::kLoss:
      break;
  }
  return by_loss(model, sequences, options, progress);
}

std::pair<TokenSequences, TokenSequences> split_text(const TokenSequences& sequences) {
  if (sequences.size() < 4) {
    fail("the text has " + std::to_string(sequences.size()) +
             " sequences, too few to choose layers on one half and price them on the other",
         "give 4 or more: a longer text, or a smaller --seq");
  }
  const auto half = sequences.begin() + static_cast<std::ptrdiff_t>(sequences.size() / 2);
  return {{sequences.begin(), half}, {half, sequences.end()}};
}

#define FATHOM_INSTANTIATE(W)                                                                         \
  template LayerChoice choose_layers<W>(Transformer<W>&, const TokenSequences&, const ChooseOptions&, \
                                        Progress&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
