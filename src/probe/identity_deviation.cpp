#include "probe/identity_deviation.h"

#include <algorithm>
#include <cmath>

#include "core/rng.h"
#include "core/threads.h"
#include "kernels/double_sums.h"

namespace fathom {
namespace {

template <class S>
double squared_distance(const S* a, const S* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += d * d;
  }
  return sum;
}

}  // namespace

template <class W>
double exact_identity_deviation(Transformer<W>& model, size_t layer, const Stream<W>* x,
                                const int32_t* tokens, size_t T) {
  using S = Stream<W>;
  constexpr size_t kCopies = kExactCopies;
  const size_t n = T * model.config().hidden_size;
  std::vector<int32_t> copied_tokens;
  Buffer<S> copies(kCopies * n), unit(kCopies * n), product(kCopies * n);
  for (size_t k = 0; k < kCopies; ++k) {
    copied_tokens.insert(copied_tokens.end(), tokens, tokens + T);
    std::copy(x, x + n, copies.data() + k * n);
  }
  model.linearize(layer, copies.data(), Batch{.B = kCopies, .T = T, .tokens = copied_tokens.data()});
  double sum = 0;
  for (size_t begin = 0; begin < n; begin += kCopies) {
    unit.zero();
    for (size_t k = 0; k < kCopies && begin + k < n; ++k) unit[k * n + begin + k] = S(1);
    std::copy(unit.data(), unit.data() + unit.size(), product.data());
    model.vjp(product.data());
    sum += squared_distance(product.data(), unit.data(), unit.size());
  }
  return std::sqrt(sum / static_cast<double>(n));
}

template <class S>
IdentityDeviation<S>::IdentityDeviation(size_t num_layers, size_t probes, uint64_t seed)
    : by_sequence(num_layers), by_probe(num_layers), probes_(probes), seed_(seed) {}

template <class S>
template <class W>
void IdentityDeviation<S>::add(Transformer<W>& model, const StreamRecorder<S>& record, const Batch& batch,
                               size_t rows_at_once, const std::function<void(size_t)>& after_each,
                               size_t first) {
  const size_t at_once = rows_at_once == 0 ? batch.B : std::clamp<size_t>(rows_at_once / batch.T, 1, batch.B);
  for (size_t l = first; l < by_sequence.size(); ++l) {
    for (size_t b = 0; b < batch.B; b += at_once) {
      const size_t row = b * batch.T;
      Batch part = batch;
      part.B = std::min(at_once, batch.B - b);
      part.tokens += row;
      if (part.targets != nullptr) part.targets += row;
      if (part.first_key != nullptr) part.first_key += row;
      add_layer(model, l, record.stream(l) + row * model.config().hidden_size, part, sequences_seen + b);
    }
    record.drop();
    if (after_each) after_each(l);
  }
  sequences_seen += batch.B;
}

// One layer's part for sequences that begin with number `sequence` of the text.
template <class S>
template <class W>
void IdentityDeviation<S>::add_layer(Transformer<W>& model, size_t l, const S* x, const Batch& batch,
                                     uint64_t sequence) {
  if (probes_ == 0) return add_exactly(model, l, x, batch);
  const size_t C = model.config().hidden_size, n = batch.T * C;
  S *signs = ensure(signs_, batch.rows() * C), *product = ensure(product_, batch.rows() * C);
  model.linearize(l, x, batch);
  std::vector<double> squares(batch.B), norms(batch.B), all_squares(batch.B), all_norms(batch.B);
  for (size_t k = 0; k < probes_; ++k) {
    parallel_for(batch.B, [&](size_t b) {
      // A sequence's signs depend on its place in the text, not on the batches that it is cut into.
      Rng rng(seed_ + k, (sequence + b) * by_sequence.size() + l);
      for (size_t i = 0; i < n; ++i)
        signs[b * n + i] = is_scored(batch, b * batch.T + i / C) ? static_cast<S>(rng.sign()) : S(0);
      std::copy_n(signs + b * n, n, product + b * n);
    });
    model.vjp(product);
    parallel_for(batch.B, [&](size_t b) {
      squares[b] = squared_distance(product + b * n, signs + b * n, n);
      norms[b] = dot(signs + b * n, signs + b * n, n);
    });
    for (size_t b = 0; b < batch.B; ++b) {
      if (norms[b] == 0) continue;
      by_probe[l].add(squares[b], norms[b]);
      all_squares[b] += squares[b];
      all_norms[b] += norms[b];
    }
  }
  for (size_t b = 0; b < batch.B; ++b) {
    if (all_norms[b] > 0) by_sequence[l].add(all_squares[b], all_norms[b]);
  }
}

// Sequence by sequence, each without the padding at its end.
template <class S>
template <class W>
void IdentityDeviation<S>::add_exactly(Transformer<W>& model, size_t l, const S* x, const Batch& batch) {
  const size_t C = model.config().hidden_size;
  for (size_t b = 0; b < batch.B; ++b) {
    const size_t row = b * batch.T;
    size_t T = batch.T;
    while (T > 0 && !is_scored(batch, row + T - 1)) --T;
    if (T == 0) continue;
    const double d = exact_identity_deviation(model, l, x + row * C, batch.tokens + row, T);
    const auto n = static_cast<double>(T * C);
    by_sequence[l].add(d * d * n, n);
  }
}

template <class S>
double IdentityDeviation<S>::value(size_t layer) const {
  return std::sqrt(by_sequence[layer].mean());
}

template <class S>
double IdentityDeviation<S>::standard_error(size_t layer) const {
  const SequenceMean& squares = by_sequence[layer].sequences() > 1 ? by_sequence[layer] : by_probe[layer];
  const double root = value(layer);
  // d sqrt(m) = dm / (2 sqrt(m)); an exact identity has no error.
  return root == 0 ? 0 : squares.standard_error() / (2 * root);
}

template class IdentityDeviation<double>;
template class IdentityDeviation<float>;
#define FATHOM_INSTANTIATE(W)                                                                            \
  template double exact_identity_deviation<W>(Transformer<W>&, size_t, const Stream<W>*, const int32_t*, \
                                              size_t);                                                   \
  template void IdentityDeviation<Stream<W>>::add<W>(Transformer<W>&, const StreamRecorder<Stream<W>>&,  \
                                                     const Batch&, size_t,                               \
                                                     const std::function<void(size_t)>&, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
