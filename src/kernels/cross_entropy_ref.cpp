#include <algorithm>
#include <cmath>

#include "kernels/cross_entropy.h"

namespace fathom {

template <class S>
double softmax_nll_row_ref(S* logits, int32_t target, bool gradient, S grad_scale, size_t V) {
  if (target == kIgnoredTarget) {
    if (gradient) std::fill(logits, logits + V, S(0));
    return 0.0;
  }
  const S highest = *std::max_element(logits, logits + V);
  double total = 0;
  for (size_t i = 0; i < V; ++i) total += std::exp(static_cast<double>(logits[i] - highest));
  const double nll = std::log(total) - static_cast<double>(logits[target] - highest);
  if (gradient) {
    for (size_t i = 0; i < V; ++i) {
      const double p = std::exp(static_cast<double>(logits[i] - highest)) / total;
      logits[i] = static_cast<S>(p) * grad_scale;
    }
    logits[target] -= grad_scale;
  }
  return nll;
}

template double softmax_nll_row_ref(double*, int32_t, bool, double, size_t);
template double softmax_nll_row_ref(float*, int32_t, bool, float, size_t);

}  // namespace fathom
