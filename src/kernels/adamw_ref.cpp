#include <cmath>
#include <type_traits>

#include "kernels/adamw.h"
#include "kernels/adamw_factors.h"

namespace fathom {
namespace {

float flush(float x) { return std::abs(x) < 0x1p-126f ? 0.0f : x; }

// Element i, moments in bf16. Operation for operation the fast code, with its fused products.
void update_one(float* p, bf16* m, bf16* v, const float* g, size_t i, const AdamWFactors& f, uint64_t index) {
  const float gi = f.grad_scale * g[i];
  const float mi = flush(std::fma(f.beta1, static_cast<float>(m[i]), f.one_minus_beta1 * gi));
  const float vi = flush(std::fma(f.beta2, static_cast<float>(v[i]), f.one_minus_beta2 * gi * gi));
  const uint32_t random = rounding_bits(f.key, index);
  m[i] = stochastic_bf16(mi, random & 0xffffu);
  v[i] = stochastic_bf16(vi, random >> 16);
  const float step = f.rate * mi / (std::sqrt(vi * f.v_correction) + f.eps);
  p[i] -= std::fma(f.decay, p[i], step);
}

}  // namespace

template <class S, class M>
void adamw_update_ref(S* p, M* m, M* v, const S* g, bf16* copy, size_t n, const AdamWSettings& s) {
  if constexpr (std::is_same_v<S, M>) {
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
    }
  } else {
    const AdamWFactors factors = adamw_factors(s);
    for (size_t i = 0; i < n; ++i) update_one(p, m, v, g, i, factors, s.first + i);
  }
  if (copy == nullptr) return;
  for (size_t i = 0; i < n; ++i) copy[i] = bf16(static_cast<float>(p[i]));
}

#define FATHOM_INSTANTIATE(S, M) \
  template void adamw_update_ref(S*, M*, M*, const S*, bf16*, size_t, const AdamWSettings&);
FATHOM_INSTANTIATE(double, double)
FATHOM_INSTANTIATE(float, float)
FATHOM_INSTANTIATE(float, bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
