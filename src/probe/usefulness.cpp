#include "probe/usefulness.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/format.h"
#include "core/threads.h"
#include "kernels/double_sums.h"
#include "probe/interventions.h"
#include "probe/sequence_batches.h"

namespace fathom {
namespace {

constexpr double kUseful = 0.1;
constexpr size_t kTokensPerDimension = 4;
// Where nobody says what there is: beyond this the sums of all layers at once do not belong into memory.
constexpr size_t kMostBytes = size_t{4} << 30;

// Sums for the least squares of y on x, both (rows, C): x is followed by a column of ones. Of the symmetric
// x^T x the lower half alone is kept.
class NormalEquations {
 public:
  explicit NormalEquations(size_t C) : C_(C), xx_((C + 1) * (C + 1)), xy_((C + 1) * C) {}

  template <class S>
  void add(const S* x, const S* y, const std::vector<size_t>& rows) {
    constexpr size_t kBlock = 64;  // rows whose doubles stay in the cache while they are multiplied
    const size_t wide = C_ + 1;
    std::vector<double> xs(kBlock * wide), ys(kBlock * C_);
    for (size_t begin = 0; begin < rows.size(); begin += kBlock) {
      const size_t n = std::min(kBlock, rows.size() - begin);
      for (size_t i = 0; i < n; ++i) {
        const size_t r = rows[begin + i];
        std::copy_n(x + r * C_, C_, xs.data() + i * wide);
        xs[i * wide + C_] = 1.0;
        std::copy_n(y + r * C_, C_, ys.data() + i * C_);
      }
      add_products(xx_.data(), wide, xs.data(), xs.data(), n, wide, wide, /*lower=*/true);
      add_products(xy_.data(), C_, xs.data(), ys.data(), n, wide, C_);
    }
  }

  // The map, by Cholesky's decomposition. A stream that leaves some directions unused (fewer tokens than it
  // seems, or a planted model) has a singular matrix: those directions get nothing.
  template <class S>
  LinearMap<S> solve() {
    const size_t n = C_ + 1;
    double largest = 0;
    for (size_t i = 0; i < n; ++i) largest = std::max(largest, xx_[i * n + i]);
    const double least = largest * 1e-13;
    for (size_t i = 0; i < n; ++i) {
      double pivot = xx_[i * n + i];
      for (size_t k = 0; k < i; ++k) pivot -= xx_[i * n + k] * xx_[i * n + k];
      const bool unused = !(pivot > least);
      const double root = unused ? 0.0 : std::sqrt(pivot);
      xx_[i * n + i] = root;
      parallel_ranges(n - i - 1, 64, [&](size_t begin, size_t end) {
        for (size_t r = i + 1 + begin; r < i + 1 + end; ++r) {
          double sum = xx_[r * n + i];
          for (size_t k = 0; k < i; ++k) sum -= xx_[r * n + k] * xx_[i * n + k];
          xx_[r * n + i] = unused ? 0.0 : sum / root;
        }
      });
    }
    // Each range of columns goes through the whole matrix, half of the way across its lines: so few ranges,
    // and each narrow enough for L2.
    parallel_ranges(C_, 96, [&](size_t begin, size_t end) {
      for (size_t i = 0; i < n; ++i)
        substitute(
            i, begin, end, [&](size_t k) { return xx_[i * n + k]; }, 0, i);
      for (size_t i = n; i-- > 0;)
        substitute(
            i, begin, end, [&](size_t k) { return xx_[k * n + i]; }, i + 1, n);
    });
    LinearMap<S> map;
    map.A.assign(xy_.begin(), xy_.begin() + static_cast<ptrdiff_t>(C_ * C_));
    map.b.assign(xy_.begin() + static_cast<ptrdiff_t>(C_ * C_), xy_.end());
    return map;
  }

 private:
  // Columns [begin, end) of row i: (row - sum of factor(k) times row k) / diagonal.
  template <class Factor>
  void substitute(size_t i, size_t begin, size_t end, const Factor& factor, size_t first, size_t last) {
    const double diagonal = xx_[i * (C_ + 1) + i];
    double* row = xy_.data() + i * C_;
    for (size_t k = first; k < last; ++k) {
      const double f = factor(k);
      for (size_t j = begin; j < end; ++j) row[j] -= f * xy_[k * C_ + j];
    }
    for (size_t j = begin; j < end; ++j) row[j] = diagonal == 0 ? 0.0 : row[j] / diagonal;
  }

  size_t C_;
  std::vector<double> xx_, xy_;
};

std::vector<size_t> scored_rows(const Batch& batch) {
  std::vector<size_t> rows;
  for (size_t r = 0; r < batch.rows(); ++r) {
    if (is_scored(batch, r)) rows.push_back(r);
  }
  return rows;
}

// `count` sequences of a batch from number `first` on.
Batch sequences_of(const Batch& batch, size_t first, size_t count) {
  Batch part = batch;
  part.B = count;
  part.tokens += first * batch.T;
  part.targets += first * batch.T;
  if (part.first_key != nullptr) part.first_key += first * batch.T;
  return part;
}

// The losses with each layer's map in its place, minus those of the model.
template <class W>
class ReplacedLayers {
 public:
  using S = Stream<W>;
  explicit ReplacedLayers(const std::vector<LinearMap<S>>& maps) : difference(maps.size()), maps_(maps) {}

  // `nll` and `record` are of a whole pass, in which `batch` begins at `first_row`.
  void add(Transformer<W>& model, const StreamRecorder<S>& record, const double* nll, const Batch& batch,
           size_t first_row, const std::function<void()>& after_each) {
    const size_t L = maps_.size(), at = first_row * model.config().hidden_size;
    std::vector<double> replaced(batch.rows());
    loss.add_rows(nll, batch);
    for (size_t l = 0; l < L; ++l) {
      Program<S> rest{{l, &maps_[l]}};
      for (size_t k = l + 1; k < L; ++k) rest.push_back({k, nullptr});
      losses_from<W>(model, replaced.data(), record.stream(l) + at, rest, batch, room_);
      for (size_t r = 0; r < batch.rows(); ++r) replaced[r] -= nll[r];
      difference[l].add_rows(replaced.data(), batch);
      record.drop();
      after_each();
    }
  }

  SequenceMean loss;
  std::vector<SequenceMean> difference;

 private:
  const std::vector<LinearMap<S>>& maps_;
  Buffer<S> room_;
};

size_t fitted_tokens_of(const TokenSequences& sequences) {
  size_t tokens = 0;
  for (size_t s = 0; s < sequences.size() / 2; ++s) tokens += sequences[s].size() - 1;
  return tokens;
}

}  // namespace

bool has_tokens_to_fit(const TokenSequences& sequences, size_t C) {
  return fitted_tokens_of(sequences) >= kTokensPerDimension * C;
}

template <class S>
size_t usefulness_bytes(size_t L, size_t C) {
  return L * ((C + 1) * (C + 1) + (C + 1) * C) * sizeof(double) + (C + 1) * C * sizeof(S);
}

template <class W>
Usefulness measure_usefulness(Transformer<W>& model, const TokenSequences& sequences, size_t max_rows,
                              Progress& progress, const std::filesystem::path& spill,
                              std::optional<size_t> budget, const RecordedText<Stream<W>>& recorded) {
  using S = Stream<W>;
  const size_t L = model.plans().size(), C = model.config().hidden_size;
  const auto half = static_cast<ptrdiff_t>(sequences.size() / 2);
  const TokenSequences fitted(sequences.begin(), sequences.begin() + half);
  const TokenSequences scored(sequences.begin() + half, sequences.end());
  SequenceBatches fit_batches = SequenceBatches::by_rows(fitted, max_rows);
  SequenceBatches score_batches = SequenceBatches::by_rows(scored, max_rows);
  Usefulness result;
  result.fitted_tokens = fitted_tokens_of(sequences);
  result.scored_tokens = score_batches.tokens();
  if (!has_tokens_to_fit(sequences, C)) {
    result.reason = "half of the text has " + std::to_string(result.fitted_tokens) +
                    " tokens; a map of width " + std::to_string(C) + " takes " +
                    std::to_string(kTokensPerDimension * C);
    return result;
  }
  const size_t bytes = usefulness_bytes<S>(L, C);
  if (bytes > budget.value_or(kMostBytes)) {
    result.reason = "the least squares of all layers would take " + bytes_text(static_cast<double>(bytes)) +
                    ", more than the memory leaves for them";
    return result;
  }

  const bool runs = recorded.record == nullptr;
  progress.begin("fit linear maps", (runs ? fit_batches.count() : 1) + L, "steps");
  uint64_t done = 0;
  std::vector<NormalEquations> equations;
  for (size_t l = 0; l < L; ++l) equations.emplace_back(C);
  StreamRecorder<S> own(L, spill);
  const auto fit = [&](const StreamRecorder<S>& record, const Batch& batch) {
    const std::vector<size_t> rows = scored_rows(batch);
    for (size_t l = 0; l < L; ++l) {
      equations[l].add(record.stream(l), record.stream(l + 1), rows);
      record.drop();
    }
    progress.update(++done);
  };
  const size_t first_half = fitted.size();
  if (!runs) fit(*recorded.record, sequences_of(recorded.batch, 0, first_half));
  for (size_t i = 0; runs && i < fit_batches.count(); ++i) {
    const Batch batch = fit_batches[i];
    std::vector<double> nll(batch.rows());
    model.forward(nll.data(), batch, observer_of<S>({&own}, batch, C));
    fit(own, batch);
  }
  std::vector<LinearMap<S>> maps;
  for (NormalEquations& e : equations) {
    maps.push_back(e.template solve<S>());
    e = NormalEquations(0);  // gives its memory back
    progress.update(++done);
  }
  progress.end();

  progress.begin("losses with linear maps", (runs ? score_batches.count() : 1) * L, "layer runs");
  done = 0;
  ReplacedLayers<W> replaced(maps);
  const auto after_each = [&] { progress.update(++done); };
  if (!runs) {
    const size_t first_row = first_half * recorded.batch.T;
    replaced.add(model, *recorded.record, recorded.nll + first_row,
                 sequences_of(recorded.batch, first_half, scored.size()), first_row, after_each);
  }
  for (size_t i = 0; runs && i < score_batches.count(); ++i) {
    const Batch batch = score_batches[i];
    std::vector<double> nll(batch.rows());
    model.forward(nll.data(), batch, observer_of<S>({&own}, batch, C));
    replaced.add(model, own, nll.data(), batch, 0, after_each);
  }
  progress.end();
  for (const SequenceMean& d : replaced.difference) {
    result.value.push_back(d.mean() / replaced.loss.mean());
    result.standard_error.push_back(d.standard_error() / replaced.loss.mean());
    if (result.value.back() > kUseful) result.share += 1.0 / static_cast<double>(L);
  }
  return result;
}

template size_t usefulness_bytes<double>(size_t, size_t);
template size_t usefulness_bytes<float>(size_t, size_t);
#define FATHOM_INSTANTIATE(W)                                                                          \
  template Usefulness measure_usefulness<W>(Transformer<W>&, const TokenSequences&, size_t, Progress&, \
                                            const std::filesystem::path&, std::optional<size_t>,       \
                                            const RecordedText<Stream<W>>&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
