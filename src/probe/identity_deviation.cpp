#include "probe/identity_deviation.h"

#include <algorithm>
#include <cmath>

#include "core/rng.h"
#include "kernels/vector_ops.h"

namespace fathom {
namespace {

// Vector-Jacobian products done at once, as copies of the sequence in one batch.
constexpr size_t kCopies = 32;

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
    : probes_(probes), seed_(seed), by_sequence_(num_layers), by_probe_(num_layers) {}

template <class S>
template <class W>
void IdentityDeviation<S>::add(Transformer<W>& model, const StreamRecorder<S>& record, const Batch& batch) {
  const size_t C = model.config().hidden_size, n = batch.T * C;
  Buffer<S> signs(batch.rows() * C), product(batch.rows() * C);
  for (size_t l = 0; l < by_sequence_.size(); ++l) {
    model.linearize(l, record.stream(l), batch);
    std::vector<double> squares(batch.B), norms(batch.B);
    for (size_t k = 0; k < probes_; ++k) {
      for (size_t b = 0; b < batch.B; ++b) {
        // A sequence's signs depend on its place in the text, not on the batches that it is cut into.
        Rng rng(seed_ + k, (sequences_seen_ + b) * by_sequence_.size() + l);
        for (size_t i = 0; i < n; ++i)
          signs[b * n + i] = is_scored(batch, b * batch.T + i / C) ? static_cast<S>(rng.sign()) : S(0);
      }
      std::copy(signs.data(), signs.data() + signs.size(), product.data());
      model.vjp(product.data());
      for (size_t b = 0; b < batch.B; ++b) {
        const double square = squared_distance(product.data() + b * n, signs.data() + b * n, n);
        const double norm = sum_squares(signs.data() + b * n, n);
        if (norm == 0) continue;
        by_probe_[l].add(square, norm);
        squares[b] += square;
        norms[b] += norm;
      }
    }
    for (size_t b = 0; b < batch.B; ++b) {
      if (norms[b] > 0) by_sequence_[l].add(squares[b], norms[b]);
    }
  }
  sequences_seen_ += batch.B;
}

template <class S>
double IdentityDeviation<S>::value(size_t layer) const {
  return std::sqrt(by_sequence_[layer].mean());
}

template <class S>
double IdentityDeviation<S>::standard_error(size_t layer) const {
  const SequenceMean& squares = by_sequence_[layer].sequences() > 1 ? by_sequence_[layer] : by_probe_[layer];
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
                                                     const Batch&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
