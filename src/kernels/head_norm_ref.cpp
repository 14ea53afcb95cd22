#include <cmath>

#include "kernels/head_norm.h"

namespace fathom {

template <class W>
void head_norm_forward_ref(W* x, W* raw, Stream<W>* rstd, const Stream<W>* weight, Stream<W> eps,
                           const HeadNormShape& s) {
  using S = Stream<W>;
  for (size_t r = 0; r < s.rows; ++r) {
    for (size_t g = 0; g < s.groups; ++g) {
      W* v = x + r * s.stride + g * s.width;
      double squares = 0;
      for (size_t i = 0; i < s.width; ++i) squares += static_cast<double>(v[i]) * static_cast<double>(v[i]);
      const S factor =
          static_cast<S>(1.0 / std::sqrt(squares / static_cast<double>(s.width) + static_cast<double>(eps)));
      if (rstd != nullptr) rstd[r * s.groups + g] = factor;
      for (size_t i = 0; i < s.width; ++i) {
        if (raw != nullptr) raw[(r * s.groups + g) * s.width + i] = v[i];
        v[i] = W(S(v[i]) * factor * weight[i]);
      }
    }
  }
}

template <class W>
void head_norm_backward_ref(W* dx, Stream<W>* dweight, const W* raw, const Stream<W>* rstd,
                            const Stream<W>* weight, const HeadNormShape& s) {
  using S = Stream<W>;
  for (size_t r = 0; r < s.rows; ++r) {
    for (size_t g = 0; g < s.groups; ++g) {
      W* d = dx + r * s.stride + g * s.width;
      const W* v = raw + (r * s.groups + g) * s.width;
      const S factor = rstd[r * s.groups + g];
      double dot = 0;  // sum weight dy x
      for (size_t i = 0; i < s.width; ++i)
        dot += static_cast<double>(weight[i] * S(d[i])) * static_cast<double>(v[i]);
      const S mean = static_cast<S>(dot / static_cast<double>(s.width)) * factor * factor;
      for (size_t i = 0; i < s.width; ++i) {
        if (dweight != nullptr) dweight[i] += S(d[i]) * S(v[i]) * factor;
        d[i] = W(factor * (weight[i] * S(d[i]) - S(v[i]) * mean));
      }
    }
  }
}

#define FATHOM_INSTANTIATE(W)                                                                        \
  template void head_norm_forward_ref(W*, W*, Stream<W>*, const Stream<W>*, Stream<W>,               \
                                      const HeadNormShape&);                                         \
  template void head_norm_backward_ref(W*, Stream<W>*, const W*, const Stream<W>*, const Stream<W>*, \
                                       const HeadNormShape&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
