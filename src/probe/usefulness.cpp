#include "probe/usefulness.h"

#include "core/format.h"
#include "probe/interventions.h"
#include "probe/sequence_batches.h"

namespace fathom {
namespace {

constexpr double kUseful = 0.1;
constexpr size_t kTokensPerDimension = 4;
// Where nobody says what there is: beyond this the sums of all layers at once do not belong into memory.
constexpr size_t kMostBytes = size_t{4} << 30;

size_t tokens_of(const TokenSequences& sequences, size_t begin, size_t end) {
  size_t tokens = 0;
  for (size_t s = begin; s < end; ++s) tokens += sequences[s].size() - 1;
  return tokens;
}

}  // namespace

bool has_tokens_to_fit(const TokenSequences& sequences, size_t C) {
  return tokens_of(sequences, 0, sequences.size() / 2) >= kTokensPerDimension * C;
}

template <class S>
size_t usefulness_bytes(size_t layers, size_t C) {
  return layers * NormalEquations::bytes(C) + (C + 1) * C * sizeof(S);
}

std::string usefulness_obstacle(const TokenSequences& sequences, size_t C, size_t bytes,
                                std::optional<size_t> budget) {
  if (!has_tokens_to_fit(sequences, C)) {
    return "half of the text has " + std::to_string(tokens_of(sequences, 0, sequences.size() / 2)) +
           " tokens; a map of width " + std::to_string(C) + " takes " +
           std::to_string(kTokensPerDimension * C);
  }
  if (bytes > budget.value_or(kMostBytes)) {
    return "the least squares would take " + bytes_text(static_cast<double>(bytes)) +
           ", more than the memory leaves for them";
  }
  return {};
}

template <class S>
LayerUsefulness<S>::LayerUsefulness(size_t num_layers)
    : loss(1), difference(num_layers), sums_(num_layers), maps_(num_layers) {}

template <class S>
void LayerUsefulness<S>::fit_layer(const StreamRecorder<S>& record, const std::vector<size_t>& rows, size_t C,
                                   size_t l) {
  if (!sums_[l]) sums_[l].emplace(C);
  sums_[l]->add(record.stream(l), record.stream(l + 1), rows);
}

template <class S>
const LinearMap<S>& LayerUsefulness<S>::map_of(size_t l) {
  if (sums_[l]) {
    maps_[l] = sums_[l]->template solve<S>();
    sums_[l].reset();
  }
  return maps_[l];
}

template <class S>
void LayerUsefulness<S>::fit(const StreamRecorder<S>& record, const Batch& batch, size_t C, size_t fitted,
                             size_t first) {
  const std::vector<size_t> rows = scored_rows(sequences_of(batch, 0, fitted));
  for (size_t l = first; l < difference.size(); ++l) {
    fit_layer(record, rows, C, l);
    record.drop();
  }
}

template <class S>
template <class W>
void LayerUsefulness<S>::add(Transformer<W>& model, const StreamRecorder<S>& record, const double* nll,
                             const Batch& batch, size_t fitted, bool more,
                             const std::function<void(size_t)>& after_each, size_t first) {
  if (!reason.empty()) {
    left_out = 1;
    return;
  }
  const size_t L = difference.size(), C = model.config().hidden_size, first_row = fitted * batch.T;
  const std::vector<size_t> rows = scored_rows(sequences_of(batch, 0, fitted));
  const Batch scored = sequences_of(batch, fitted, batch.B - fitted);
  std::vector<double> replaced(scored.rows());
  if (first == 0) loss[0].add_rows(nll + first_row, scored);
  for (size_t l = more ? 0 : first; l < L; ++l) {
    if (fitted > 0) fit_layer(record, rows, C, l);
    if (l < first) continue;
    if (scored.B > 0) {
      Program<S> rest{{l, &map_of(l)}};
      for (size_t k = l + 1; k < L; ++k) rest.push_back({k, nullptr});
      losses_from<W>(model, replaced.data(), record.stream(l) + first_row * C, rest, scored, room_);
      for (size_t r = 0; r < replaced.size(); ++r) replaced[r] -= nll[first_row + r];
      difference[l].add_rows(replaced.data(), scored);
      if (!more) maps_[l] = {};
    }
    record.drop();
    after_each(l);
  }
  if (!more) room_ = Buffer<S>();
}

template <class S>
Usefulness LayerUsefulness<S>::result(const TokenSequences& sequences) const {
  Usefulness out;
  const size_t half = sequences.size() / 2;
  out.fitted_tokens = tokens_of(sequences, 0, half);
  out.scored_tokens = tokens_of(sequences, half, sequences.size());
  out.reason = reason;
  if (!reason.empty()) return out;
  for (const SequenceMean& d : difference) {
    out.value.push_back(d.mean() / loss[0].mean());
    out.standard_error.push_back(d.standard_error() / loss[0].mean());
    if (out.value.back() > kUseful) out.share += 1.0 / static_cast<double>(difference.size());
  }
  return out;
}

template size_t usefulness_bytes<double>(size_t, size_t);
template size_t usefulness_bytes<float>(size_t, size_t);
template class LayerUsefulness<double>;
template class LayerUsefulness<float>;
#define FATHOM_INSTANTIATE(W)                                                                         \
  template void LayerUsefulness<Stream<W>>::add<W>(Transformer<W>&, const StreamRecorder<Stream<W>>&, \
                                                   const double*, const Batch&, size_t, bool,         \
                                                   const std::function<void(size_t)>&, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
