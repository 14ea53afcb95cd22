#include "probe/interventions.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/threads.h"
#include "kernels/double_sums.h"

namespace fathom {
namespace {

// Adds the ratio of two per-row quantities, summed over each sequence's scored rows.
void add_ratio(SequenceMean& mean, const double* y, const double* n, const Batch& batch) {
  for (size_t b = 0; b < batch.B; ++b) {
    double sum_y = 0, sum_n = 0;
    bool any = false;
    for (size_t row = b * batch.T; row < (b + 1) * batch.T; ++row) {
      if (!is_scored(batch, row)) continue;
      sum_y += y[row];
      sum_n += n[row];
      any = true;
    }
    if (any) mean.add(sum_y, sum_n);
  }
}

}  // namespace

template <class W>
void losses_from(Transformer<W>& model, double* nll, const Stream<W>* start,
                 std::span<const ProgramStep<Stream<W>>> program, const Batch& batch, Buffer<Stream<W>>& room,
                 const Observer<Stream<W>>& observer) {
  const size_t n = batch.rows() * model.config().hidden_size;
  Stream<W>* x = ensure(room, n);
  std::copy(start, start + n, x);
  model.run(x, program, batch, observer);
  model.losses(nll, x, batch.targets, batch.rows());
}

template <class W>
void losses_without_layer(Transformer<W>& model, double* nll, size_t s,
                          const StreamRecorder<Stream<W>>& record, const Batch& batch,
                          const Observer<Stream<W>>& observer) {
  const Program<Stream<W>> whole = whole_program<Stream<W>>(record.num_layers());
  Buffer<Stream<W>> room;
  losses_from<W>(model, nll, record.stream(s), std::span(whole).subspan(s + 1), batch, room, observer);
}

template <class W>
void losses_with_swaps(Transformer<W>& model, double* nll, size_t i, size_t begin, size_t count,
                       const StreamRecorder<Stream<W>>& record, const Batch& batch, Buffer<Stream<W>>& room) {
  const size_t rows = batch.rows(), n = rows * model.config().hidden_size, L = record.num_layers();
  Stream<W>* x = ensure(room, count * n);
  std::vector<int32_t> tokens;
  for (size_t v = 0; v < count; ++v) {
    std::copy_n(record.stream(i), n, x + v * n);
    tokens.insert(tokens.end(), batch.tokens, batch.tokens + rows);
  }
  // Which layer runs at place k of the v-th.
  const auto layer_at = [&](size_t v, size_t k) { return k == i ? begin + v : k == begin + v ? i : k; };
  for (size_t k = i; k < L; ++k) {
    for (size_t v = 0; v < count;) {
      const size_t first = v, layer = layer_at(v, k);
      while (v < count && layer_at(v, k) == layer) ++v;
      const Batch together{.B = (v - first) * batch.B, .T = batch.T, .tokens = tokens.data()};
      const ProgramStep<Stream<W>> step{layer};
      model.run(x + first * n, {&step, 1}, together);
    }
    if (k + 1 < L) model.prefetch(k + 1);
  }
  for (size_t v = 0; v < count; ++v) model.losses(nll + v * rows, x + v * n, batch.targets, rows);
}

std::vector<Removal> every_run(size_t length, size_t block, Removed what) {
  std::vector<Removal> runs;
  for (size_t begin = 0; begin + block <= length; ++begin) runs.push_back({begin, block, what});
  return runs;
}

template <class S>
Program<S> steps_after(const Program<S>& program, const Removal& removal) {
  Program<S> rest(program.begin() + static_cast<std::ptrdiff_t>(removal.begin), program.end());
  if (removal.what == Removed::kLayer) {
    rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(removal.count));
    return rest;
  }
  const LayerPart part =
      removal.what == Removed::kAttention ? LayerPart::kWithoutAttention : LayerPart::kWithoutMlp;
  for (size_t i = 0; i < removal.count; ++i) rest[i].part = part;
  return rest;
}

template <class S>
uint64_t sublayer_runs(const Program<S>& program) {
  uint64_t runs = 0;
  for (const ProgramStep<S>& step : program) runs += step.part == LayerPart::kWhole ? 2 : 1;
  return runs;
}

template <class S>
Observer<S> CausalScore<S>::observer(size_t s, const StreamRecorder<S>& record, const Batch& batch,
                                     size_t C) {
  return [this, s, &record, &batch, C, input = static_cast<const S*>(nullptr)](const Tap<S>& tap) mutable {
    if (tap.point == TapPoint::kAttention) input = tap.before;
    if (tap.point == TapPoint::kMlp) add(score[s][tap.layer], tap, input, record, batch, C);
  };
}

template <class S>
void CausalScore<S>::add(SequenceMean& mean, const Tap<S>& tap, const S* input,
                         const StreamRecorder<S>& record, const Batch& batch, size_t C) {
  const S *before = record.stream(tap.layer), *after = record.stream(tap.layer + 1);
  std::vector<double> change(batch.rows()), difference(batch.rows());
  parallel_ranges(batch.rows(), 16, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const size_t at = r * C;
      const ChangeSums sums = change_sums(after + at, before + at, tap.after + at, input + at, C);
      change[r] = std::sqrt(sums.change);
      difference[r] = std::sqrt(sums.difference);
    }
  });
  add_ratio(mean, difference.data(), change.data(), batch);
}

template <class S>
LayerRemoval<S>::LayerRemoval(Program<S> program, std::vector<Removal> removals)
    : loss_without(removals.size()),
      delta(removals.size()),
      program_(std::move(program)),
      removals_(std::move(removals)) {
  for (const Removal& removal : removals_) rest_.push_back(steps_after(program_, removal));
}

template <class S>
template <class W>
void LayerRemoval<S>::add(Transformer<W>& model, const StreamRecorder<S>& record, const double* nll,
                          const Batch& batch, CausalScore<S>* causal,
                          const std::function<void(size_t)>& after_each, size_t first) {
  const size_t rows = batch.rows(), C = model.config().hidden_size;
  std::vector<double> without(rows), difference(rows);
  Buffer<S> room;
  if (first == 0) loss.add_rows(nll, batch);
  for (size_t i = first; i < removals_.size(); ++i) {
    const size_t begin = removals_[i].begin;
    const S* start = record.stream(begin == 0 ? 0 : program_[begin - 1].layer + 1);
    losses_from<W>(model, without.data(), start, rest_[i], batch, room,
                   causal != nullptr ? causal->observer(begin, record, batch, C) : Observer<S>{});
    for (size_t r = 0; r < rows; ++r) difference[r] = without[r] - nll[r];
    loss_without[i].add_rows(without.data(), batch);
    delta[i].add_rows(difference.data(), batch);
    if (after_each) after_each(i);
  }
}

template <class S>
LayerPermutation<S>::LayerPermutation(size_t num_layers)
    : relative_change(num_layers, std::vector<SequenceMean>(num_layers)) {}

template <class S>
template <class W>
void LayerPermutation<S>::add(Transformer<W>& model, const StreamRecorder<S>& record, const double* nll,
                              const Batch& batch, size_t rows_at_once,
                              const std::function<void(size_t)>& after, size_t first) {
  const size_t rows = batch.rows(), L = relative_change.size();
  const size_t most = std::max<size_t>(1, rows_at_once / std::max<size_t>(1, rows));
  std::vector<double> swapped(most * rows);
  Buffer<S> room;
  size_t pair = 0;  // the first of row i
  for (size_t i = 0; i < L; pair += L - 1 - i, ++i) {
    for (size_t j = i + 1 + (first > pair ? first - pair : 0); j < L;) {
      const size_t count = std::min(most, L - j);
      losses_with_swaps<W>(model, swapped.data(), i, j, count, record, batch, room);
      for (size_t v = 0; v < count; ++v, ++j) {
        double* change = swapped.data() + v * rows;
        for (size_t r = 0; r < rows; ++r) change[r] -= nll[r];
        add_ratio(relative_change[i][j], change, nll, batch);
      }
      if (after) after(pair + j - i - 2);
    }
  }
}

template <class S>
double LayerPermutation<S>::score(size_t i, size_t j) const {
  return i == j ? 0 : std::abs(relative_change[std::min(i, j)][std::max(i, j)].mean());
}

template <class S>
double LayerPermutation<S>::score_standard_error(size_t i, size_t j) const {
  return i == j ? 0 : relative_change[std::min(i, j)][std::max(i, j)].standard_error();
}

template Program<double> steps_after(const Program<double>&, const Removal&);
template Program<float> steps_after(const Program<float>&, const Removal&);
template uint64_t sublayer_runs<double>(const Program<double>&);
template uint64_t sublayer_runs<float>(const Program<float>&);
template class CausalScore<double>;
template class CausalScore<float>;
template class LayerRemoval<double>;
template class LayerRemoval<float>;
template class LayerPermutation<double>;
template class LayerPermutation<float>;
#define FATHOM_INSTANTIATE(W)                                                                               \
  template void losses_from<W>(Transformer<W>&, double*, const Stream<W>*,                                  \
                               std::span<const ProgramStep<Stream<W>>>, const Batch&, Buffer<Stream<W>>&,   \
                               const Observer<Stream<W>>&);                                                 \
  template void losses_without_layer<W>(Transformer<W>&, double*, size_t, const StreamRecorder<Stream<W>>&, \
                                        const Batch&, const Observer<Stream<W>>&);                          \
  template void losses_with_swaps<W>(Transformer<W>&, double*, size_t, size_t, size_t,                      \
                                     const StreamRecorder<Stream<W>>&, const Batch&, Buffer<Stream<W>>&);   \
  template void LayerRemoval<Stream<W>>::add<W>(Transformer<W>&, const StreamRecorder<Stream<W>>&,          \
                                                const double*, const Batch&, CausalScore<Stream<W>>*,       \
                                                const std::function<void(size_t)>&, size_t);                \
  template void LayerPermutation<Stream<W>>::add<W>(Transformer<W>&, const StreamRecorder<Stream<W>>&,      \
                                                    const double*, const Batch&, size_t,                    \
                                                    const std::function<void(size_t)>&, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
