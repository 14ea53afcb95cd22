#include "probe/divergence.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "probe/sequence_batches.h"
#include "probe/sequence_mean.h"

namespace fathom {
namespace {

constexpr size_t kHeadRows = 64;  // of logits at a time

// Largest over scored rows of |a - b| / |a|, in double; infinite where it is not finite.
template <class S>
double row_deviation(const S* a, const S* b, size_t first_row, size_t rows, size_t width,
                     const Batch& batch) {
  double worst = 0;
  for (size_t r = 0; r < rows; ++r) {
    if (!is_scored(batch, first_row + r)) continue;
    double squares = 0, difference = 0;
    for (size_t c = r * width; c < (r + 1) * width; ++c) {
      const auto x = static_cast<double>(a[c]), d = static_cast<double>(b[c]) - x;
      squares += x * x;
      difference += d * d;
    }
    const double deviation = difference == 0 ? 0 : std::sqrt(difference / squares);
    worst = std::isfinite(deviation) ? std::max(worst, deviation) : std::numeric_limits<double>::infinity();
    if (std::isinf(worst)) break;
  }
  return worst;
}

// The taps of one pass, and the head's logits, of two models.
template <class W>
class PassComparison {
 public:
  using S = Stream<W>;
  PassComparison(Transformer<W>& a, Transformer<W>& b) : a_(a), b_(b) {
    const size_t L = a.plans().size();
    places.push_back({{0, TapPoint::kEmbedding, false}});
    for (size_t l = 1; l <= L; ++l) {
      places.push_back({{l, TapPoint::kAttention, false}});
      places.push_back({{l, TapPoint::kMlp, false}});
    }
    places.push_back({{L + 1, TapPoint::kMlp, true}});
  }

  void add(const Batch& batch, CountedWork& compared) {
    const size_t n = batch.rows() * a_.config().hidden_size;
    std::vector<std::vector<S>> taps;
    run(a_, batch, [&](const Tap<S>& tap) {
      taps.emplace_back(tap.after, tap.after + n);
      if (tap.point == TapPoint::kMlp) compared.add(1);
    });
    size_t at = 0;
    std::vector<S> last;
    run(b_, batch, [&](const Tap<S>& tap) {
      widen(at, row_deviation(taps[at].data(), tap.after, 0, batch.rows(), n / batch.rows(), batch));
      if (++at == taps.size()) last.assign(tap.after, tap.after + n);
      if (tap.point == TapPoint::kMlp) compared.add(1);
    });
    add_head(taps.back().data(), last.data(), batch);
  }

  std::vector<PlaceDeviation> places;

 private:
  static void run(Transformer<W>& model, const Batch& batch, const Observer<S>& observer) {
    Buffer<S> x(batch.rows() * model.config().hidden_size);
    model.embed(x.data(), batch, observer);
    model.run(x.data(), whole_program<S>(model.plans().size()), batch, observer);
  }
  void widen(size_t place, double deviation) {
    places[place].deviation = std::max(places[place].deviation, deviation);
  }
  void add_head(const S* x_a, const S* x_b, const Batch& batch) {
    const size_t C = a_.config().hidden_size, V = a_.config().vocab_size;
    std::vector<S> logits_a(kHeadRows * V), logits_b(kHeadRows * V);
    for (size_t begin = 0; begin < batch.rows(); begin += kHeadRows) {
      const size_t n = std::min(kHeadRows, batch.rows() - begin);
      a_.logits(logits_a.data(), x_a + begin * C, n);
      b_.logits(logits_b.data(), x_b + begin * C, n);
      widen(places.size() - 1, row_deviation(logits_a.data(), logits_b.data(), begin, n, V, batch));
    }
  }

  Transformer<W>&a_, &b_;
};

// Where in the forward a tensor is read.
PassPlace place_of(const ParamSpec& spec, size_t num_layers) {
  switch (spec.role) {
    case ParamRole::kEmbedding:
    case ParamRole::kEmbedNorm:
      return {0, TapPoint::kEmbedding, false};
    case ParamRole::kFinalNorm:
    case ParamRole::kHead:
      return {num_layers + 1, TapPoint::kMlp, true};
    case ParamRole::kGate:
    case ParamRole::kUp:
    case ParamRole::kDown:
    case ParamRole::kMlpNormIn:
    case ParamRole::kMlpNormOut:
    case ParamRole::kMlpNormSum:
    case ParamRole::kMlpGain:
      return {static_cast<size_t>(spec.layer) + 1, TapPoint::kMlp, false};
    default:
      return {static_cast<size_t>(spec.layer) + 1, TapPoint::kAttention, false};
  }
}

template <class S>
double tensor_deviation(const S* a, const S* b, size_t n) {
  double squares = 0, difference = 0;
  for (size_t i = 0; i < n; ++i) {
    const auto x = static_cast<double>(a[i]), d = static_cast<double>(b[i]) - x;
    squares += x * x;
    difference += d * d;
  }
  return difference == 0 ? 0 : std::sqrt(difference / squares);
}

// A fold leaves no gains of LayerScale: the model without them may compute the same.
std::vector<ParamSpec> without_gains(std::vector<ParamSpec> list) {
  std::erase_if(list, [](const ParamSpec& p) {
    return p.role == ParamRole::kAttnGain || p.role == ParamRole::kMlpGain;
  });
  return list;
}

void expect_one_shape(const std::vector<ParamSpec>& all_a, const std::vector<ParamSpec>& all_b) {
  const std::vector<ParamSpec> a = without_gains(all_a), b = without_gains(all_b);
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (a[i].name == b[i].name && a[i].shape == b[i].shape) continue;
    fail({.what = "the two models are not of one shape: the other has '" + b[i].name +
                  "' in its place, or another size",
          .tensor = a[i].name});
  }
  if (a.size() != b.size())
    fail("the two models are not of one shape: " + std::to_string(a.size()) + " and " +
         std::to_string(b.size()) + " tensors");
}

}  // namespace

std::string PassPlace::text() const {
  if (head) return "head";
  if (point == TapPoint::kEmbedding) return "embedding";
  return "layer " + std::to_string(layer) + (point == TapPoint::kAttention ? ", attention" : ", MLP");
}

template <class W>
Divergence find_divergence(Transformer<W>& a, const ResidentWeights<W>& weights_a, Transformer<W>& b,
                           const ResidentWeights<W>& weights_b, const TokenSequences& sequences,
                           size_t batch_size, double tolerance, Progress* progress) {
  expect_one_shape(weights_a.list(), weights_b.list());
  PassComparison<W> comparison(a, b);
  SequenceBatches batches(sequences, batch_size);
  CountedWork compared(progress, "compare", batches.count() * 2 * a.plans().size(), "layers");
  for (size_t i = 0; i < batches.count(); ++i) comparison.add(batches[i], compared);
  Divergence result{.places = std::move(comparison.places), .tensors = {}, .first = {}, .tensor = {}};
  for (const PlaceDeviation& p : result.places) {
    if (p.deviation <= tolerance) continue;
    result.first = p.place;
    break;
  }
  const std::vector<ParamSpec>& others = weights_b.list();
  for (const ParamSpec& spec : weights_a.list()) {
    const auto other =
        std::find_if(others.begin(), others.end(), [&](const ParamSpec& p) { return p.name == spec.name; });
    if (other == others.end()) continue;
    const double deviation =
        tensor_deviation(weights_a.values() + spec.offset, weights_b.values() + other->offset, spec.size());
    if (deviation == 0) continue;
    result.tensors.push_back({spec.name, deviation});
    const PassPlace place = place_of(spec, a.plans().size());
    const bool here =
        result.first && place.layer == result.first->layer && place.point == result.first->point;
    // The head of a tied model is its embedding, which the first place has cleared.
    if (here && result.tensor.empty() && !(deviation <= tolerance)) result.tensor = spec.name;
  }
  return result;
}

#define FATHOM_INSTANTIATE(W)                                                                              \
  template Divergence find_divergence<W>(Transformer<W>&, const ResidentWeights<W>&, Transformer<W>&,      \
                                         const ResidentWeights<W>&, const TokenSequences&, size_t, double, \
                                         Progress*);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
