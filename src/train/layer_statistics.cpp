#include "train/layer_statistics.h"

#include <cmath>

#include "core/threads.h"
#include "kernels/vector_ops.h"

namespace fathom {
namespace {

template <class S>
double row_variance(const S* x, size_t n) {
  double mean = 0, squares = 0;
  for (size_t i = 0; i < n; ++i) mean += static_cast<double>(x[i]);
  mean /= static_cast<double>(n);
  for (size_t i = 0; i < n; ++i) {
    const double d = static_cast<double>(x[i]) - mean;
    squares += d * d;
  }
  return squares / static_cast<double>(n);
}

}  // namespace

LayerVariance::LayerVariance(size_t num_layers, size_t hidden_size)
    : hidden_size_(hidden_size), sums_(num_layers), rows_(num_layers) {}

template <class S>
Observer<S> LayerVariance::observer(size_t rows) {
  return [this, rows](const Tap<S>& tap) {
    if (tap.point != TapPoint::kMlp) return;
    std::vector<double> variance(rows);
    parallel_ranges(rows, 64, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r)
        variance[r] = row_variance(tap.after + r * hidden_size_, hidden_size_);
    });
    for (const double v : variance) sums_[tap.layer] += v;
    rows_[tap.layer] += rows;
  };
}

std::vector<double> LayerVariance::means() const {
  std::vector<double> means;
  for (size_t l = 0; l < sums_.size(); ++l) means.push_back(sums_[l] / static_cast<double>(rows_[l]));
  return means;
}

template <class S>
std::vector<double> layer_gradient_norms(const std::vector<ParamSpec>& list, const S* gradients,
                                         size_t num_layers) {
  std::vector<double> norms(num_layers);
  for (const ParamSpec& spec : list) {
    if (spec.layer >= 0)
      norms[static_cast<size_t>(spec.layer)] += sum_squares(gradients + spec.offset, spec.size());
  }
  for (double& n : norms) n = std::sqrt(n);
  return norms;
}

template Observer<float> LayerVariance::observer(size_t);
template std::vector<double> layer_gradient_norms(const std::vector<ParamSpec>&, const float*, size_t);

}  // namespace fathom
