#include <algorithm>
#include <cmath>

#include "kernels/logit_rows.h"

namespace fathom {

template <class S>
double log_sum_exp_ref(const S* z, size_t V) {
  const auto highest = static_cast<double>(*std::max_element(z, z + V));
  double sum = 0;
  for (size_t v = 0; v < V; ++v) sum += std::exp(static_cast<double>(z[v]) - highest);
  return highest + std::log(sum);
}

template <class S>
RowDivergence row_divergence_ref(const S* z, const S* f, double f_lse, size_t V) {
  const double lse = log_sum_exp_ref(z, V);
  double kl = 0;
  for (size_t v = 0; v < V; ++v) {
    const double log_p = static_cast<double>(z[v]) - lse;
    kl += std::exp(log_p) * (log_p - (static_cast<double>(f[v]) - f_lse));
  }
  return {lse, kl};
}

template <class S>
size_t top_places_ref(size_t* top, size_t count, const S* z, size_t V) {
  if (count == 0) return 0;
  size_t n = 0;
  for (size_t v = 0; v < V; ++v) {
    if (n == count && !(z[v] > z[top[n - 1]])) continue;
    size_t at = n < count ? n++ : count - 1;
    for (; at > 0 && z[v] > z[top[at - 1]]; --at) top[at] = top[at - 1];
    top[at] = v;
  }
  return n;
}

#define FATHOM_INSTANTIATE(S)                                                    \
  template double log_sum_exp_ref(const S*, size_t);                             \
  template RowDivergence row_divergence_ref(const S*, const S*, double, size_t); \
  template size_t top_places_ref(size_t*, size_t, const S*, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
