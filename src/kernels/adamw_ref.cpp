#include <cmath>

#include "kernels/adamw.h"

namespace fathom {

template <class S>
void adamw_update_ref(S* p, S* m, S* v, const S* g, bf16* copy, size_t n, const AdamWSettings& s) {
  const auto t = static_cast<double>(s.step);
  const double m_correction = 1.0 / (1.0 - std::pow(s.beta1, t)),
               v_correction = 1.0 / (1.0 - std::pow(s.beta2, t));
  for (size_t i = 0; i < n; ++i) {
    const double gi = s.grad_scale * static_cast<double>(g[i]);
    const double mi = s.beta1 * static_cast<double>(m[i]) + (1.0 - s.beta1) * gi;
    const double vi = s.beta2 * static_cast<double>(v[i]) + (1.0 - s.beta2) * gi * gi;
    m[i] = static_cast<S>(mi);
    v[i] = static_cast<S>(vi);
    const double decayed = static_cast<double>(p[i]) * (1.0 - s.lr * s.weight_decay);
    p[i] = static_cast<S>(decayed - s.lr * mi * m_correction / (std::sqrt(vi * v_correction) + s.eps));
    if (copy != nullptr) copy[i] = bf16(static_cast<float>(p[i]));
  }
}

template void adamw_update_ref(double*, double*, double*, const double*, bf16*, size_t, const AdamWSettings&);
template void adamw_update_ref(float*, float*, float*, const float*, bf16*, size_t, const AdamWSettings&);

}  // namespace fathom
