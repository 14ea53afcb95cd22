#include "train/layer_statistics.h"

#include <cmath>

#include "core/threads.h"
#include "kernels/double_sums.h"
#include "kernels/vector_ops.h"

namespace fathom {
LayerVariance::LayerVariance(size_t num_layers, size_t hidden_size)
    : hidden_size_(hidden_size), sums_(num_layers), rows_(num_layers) {}

template <class S>
Observer<S> LayerVariance::observer(size_t rows) {
  return [this, rows](const Tap<S>& tap) {
    if (tap.point != TapPoint::kMlp) return;
    std::vector<double> variances(rows);
    parallel_ranges(rows, 64, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r)
        variances[r] = variance(tap.after + r * hidden_size_, hidden_size_);
    });
    for (const double v : variances) sums_[tap.layer] += v;
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
