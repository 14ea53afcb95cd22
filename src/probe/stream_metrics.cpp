#include "probe/stream_metrics.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "core/threads.h"
#include "kernels/double_sums.h"

namespace fathom {
namespace {

constexpr size_t kRowGrain = 16;

// values[row] = fn(row), on all threads.
template <class Fn>
std::vector<double> each_row(size_t rows, const Fn& fn) {
  std::vector<double> values(rows);
  parallel_ranges(rows, kRowGrain, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) values[r] = fn(r);
  });
  return values;
}

// Squared norms and the inner product of two vectors.
struct PairSums {
  double aa = 0, bb = 0, ab = 0;
};

template <class S>
PairSums pair_sums(const S* a, const S* b, size_t C) {
  return {dot(a, a, C), dot(b, b, C), dot(a, b, C)};
}

double cosine_of(const PairSums& s) {
  // One square root of the product: sqrt(x x) is x exactly, so that equal vectors give exactly 1.
  const double norms = std::sqrt(s.aa * s.bb);
  if (norms == 0) return 0;
  const double c = s.ab / norms;
  return c > 1 ? 1 : c < -1 ? -1 : c;  // a NaN stays one
}

double rms_of(double sum_of_squares, size_t C) { return std::sqrt(sum_of_squares / static_cast<double>(C)); }

}  // namespace

template <class S>
double cosine(const S* a, const S* b, size_t C) {
  return cosine_of(pair_sums(a, b, C));
}

template <class S>
double angular_distance(const S* a, const S* b, size_t C) {
  return std::acos(cosine(a, b, C)) / std::numbers::pi;
}

template <class S>
Observer<S> observer_of(std::vector<StreamMetric<S>*> metrics, const Batch& batch, size_t C) {
  return [metrics = std::move(metrics), &batch, C](const Tap<S>& tap) {
    for (StreamMetric<S>* metric : metrics) metric->observe(tap, batch, C);
  };
}

template <class S>
void StreamStatistics<S>::observe(const Tap<S>& tap, const Batch& batch, size_t C) {
  if (tap.point == TapPoint::kAttention) return;
  const size_t l = tap.point == TapPoint::kEmbedding ? 0 : tap.layer + 1, rows = batch.rows();
  const auto add = [&](const std::vector<double>& values, SequenceMean& all, SequenceMean& after_first) {
    all.add_rows(values.data(), batch);
    after_first.add_rows_after_first(values.data(), batch);
  };
  std::vector<double> variances(rows), rms_values(rows);
  parallel_ranges(rows, kRowGrain, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const S* x = tap.after + r * C;
      variances[r] = fathom::variance(x, C);
      rms_values[r] = rms_of(dot(x, x, C), C);
    }
  });
  add(variances, variance[l], variance_without_first[l]);
  add(rms_values, rms[l], rms_without_first[l]);
}

template <class S>
void BlockInfluence<S>::observe(const Tap<S>& tap, const Batch& batch, size_t C) {
  if (tap.point == TapPoint::kAttention) input_ = tap.before;
  if (tap.point != TapPoint::kMlp) return;
  // A layer that is replaced by a linear map has no attention tap.
  const S* before = std::exchange(input_, nullptr);
  if (before == nullptr) before = tap.before;
  influence[tap.layer].add_rows(
      each_row(batch.rows(), [&](size_t r) { return 1 - cosine(before + r * C, tap.after + r * C, C); })
          .data(),
      batch);
}

template <class S>
void StepContributions<S>::observe(const Tap<S>& tap, const Batch& batch, size_t C) {
  if (tap.point == TapPoint::kEmbedding) return;
  const size_t rows = batch.rows();
  std::vector<double> contribution(rows), cosines(rows), variance(rows), rms(rows);
  parallel_ranges(rows, kRowGrain, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const StepSums s = step_sums(tap.after + r * C, tap.before + r * C, C);
      contribution[r] = std::sqrt(s.change / s.before);
      cosines[r] = cosine_of({s.change, s.before, s.product});
      variance[r] = s.variance;
      rms[r] = rms_of(s.change, C);
    }
  });
  const bool attn = tap.point == TapPoint::kAttention;
  (attn ? attn_contribution : mlp_contribution)[tap.layer].add_rows(contribution.data(), batch);
  (attn ? attn_cosine : mlp_cosine)[tap.layer].add_rows(cosines.data(), batch);
  (attn ? attn_variance : mlp_variance)[tap.layer].add_rows(variance.data(), batch);
  (attn ? attn_rms : mlp_rms)[tap.layer].add_rows(rms.data(), batch);
}

template <class S>
void StreamRecorder<S>::observe(const Tap<S>& tap, const Batch& batch, size_t C) {
  if (tap.point == TapPoint::kAttention) return;
  const size_t l = tap.point == TapPoint::kEmbedding ? 0 : tap.layer + 1, n = batch.rows() * C;
  if (size_ != n) {
    size_ = n;
    buffers_.clear();
    file_ = {};
    if (!folder_.empty()) file_ = SpillFile(folder_, streams_.size() * n * sizeof(S));
    for (size_t i = 0; i < streams_.size(); ++i) {
      if (folder_.empty()) buffers_.emplace_back(n);
      streams_[i] = folder_.empty() ? buffers_[i].data() : reinterpret_cast<S*>(file_.data()) + i * n;
    }
  }
  std::copy(tap.after, tap.after + n, streams_[l]);
  file_.drop(l * n * sizeof(S), n * sizeof(S));
}

template <class S>
AngularDistances<S>::AngularDistances(size_t num_layers) {
  for (size_t n = 1; n <= num_layers; ++n) {
    all_tokens.emplace_back(num_layers + 1 - n);
    last_token.emplace_back(num_layers + 1 - n);
  }
}

// Some rows at a time, each with all pairs: the streams are read once, and their norms taken once.
template <class S>
void AngularDistances<S>::add(const StreamRecorder<S>& record, const Batch& batch, size_t C) {
  constexpr size_t kRowsAtOnce = 4096;
  const size_t L = all_tokens.size(), rows = batch.rows(), pairs = L * (L + 1) / 2;
  std::vector<double> values(pairs * rows);
  for (size_t first = 0; first < rows; first += kRowsAtOnce) {
    const size_t some = std::min(kRowsAtOnce, rows - first);
    parallel_ranges(some, kRowGrain, [&](size_t begin, size_t end) {
      std::vector<double> squares(L + 1);
      for (size_t r = first + begin; r < first + end; ++r) {
        for (size_t l = 0; l <= L; ++l)
          squares[l] = dot(record.stream(l) + r * C, record.stream(l) + r * C, C);
        for (size_t n = 1, pair = 0; n <= L; ++n) {
          for (size_t l = 0; l + n <= L; ++l, ++pair) {
            const double ab = dot(record.stream(l) + r * C, record.stream(l + n) + r * C, C);
            values[pair * rows + r] =
                std::acos(cosine_of({squares[l], squares[l + n], ab})) / std::numbers::pi;
          }
        }
      }
    });
    record.drop();
  }
  for (size_t n = 1, pair = 0; n <= L; ++n) {
    for (size_t l = 0; l + n <= L; ++l, ++pair) {
      const double* of_pair = values.data() + pair * rows;
      all_tokens[n - 1][l].add_rows(of_pair, batch);
      for (size_t s = 0; s < batch.B; ++s) {
        for (size_t row = (s + 1) * batch.T; row-- > s * batch.T;) {
          if (!is_scored(batch, row)) continue;
          last_token[n - 1][l].add(of_pair[row], 1);
          break;
        }
      }
    }
  }
}

#define FATHOM_INSTANTIATE(S)                                                               \
  template double cosine<S>(const S*, const S*, size_t);                                    \
  template double angular_distance<S>(const S*, const S*, size_t);                          \
  template Observer<S> observer_of<S>(std::vector<StreamMetric<S>*>, const Batch&, size_t); \
  template class StreamStatistics<S>;                                                       \
  template class BlockInfluence<S>;                                                         \
  template class StepContributions<S>;                                                      \
  template class StreamRecorder<S>;                                                         \
  template class AngularDistances<S>;
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
