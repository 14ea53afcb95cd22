#include "kernels/swiglu.h"

#include <cmath>

namespace fathom {

template <class W>
void swiglu_forward_ref(W* act, const W* gate_up, size_t rows, size_t F) {
  using S = Stream<W>;
  for (size_t r = 0; r < rows; ++r) {
    const W* gate = gate_up + r * 2 * F;
    for (size_t i = 0; i < F; ++i) {
      const S g = S(gate[i]), u = S(gate[F + i]);
      act[r * F + i] = W(g / (S(1) + std::exp(-g)) * u);
    }
  }
}

template <class W>
void swiglu_backward_ref(W* dgate_up, const W* dact, const W* gate_up, size_t rows, size_t F) {
  using S = Stream<W>;
  for (size_t r = 0; r < rows; ++r) {
    const W* gate = gate_up + r * 2 * F;
    W* dgate = dgate_up + r * 2 * F;
    for (size_t i = 0; i < F; ++i) {
      const S g = S(gate[i]), u = S(gate[F + i]), d = S(dact[r * F + i]);
      const S sigmoid = S(1) / (S(1) + std::exp(-g));
      dgate[i] = W(d * u * sigmoid * (S(1) + g * (S(1) - sigmoid)));  // silu' = s (1 + g (1 - s))
      dgate[F + i] = W(d * g * sigmoid);
    }
  }
}

#define FATHOM_INSTANTIATE(W)                                     \
  template void swiglu_forward_ref(W*, const W*, size_t, size_t); \
  template void swiglu_backward_ref(W*, const W*, const W*, size_t, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
