#include "kernels/swiglu.h"

#include <cmath>

namespace fathom {
namespace {

// f(g) = g sigmoid(z(g)); z and its derivative.
template <class S>
struct Argument {
  S z, slope;
};
template <class S>
Argument<S> argument_of(S g, GateActivation f) {
  if (f == GateActivation::kSilu) return {g, S(1)};
  const S two_root = S(1.5957691216057308), cubic = S(0.044715);  // 2 sqrt(2 / pi)
  return {two_root * (g + cubic * g * g * g), two_root * (S(1) + S(3) * cubic * g * g)};
}

}  // namespace

template <class W>
void swiglu_forward_block_ref(W* act, size_t act_ld, const W* gate, const W* up, const SwigluBlock& block,
                              GateActivation f) {
  using S = Stream<W>;
  for (size_t r = 0; r < block.rows; ++r, act += act_ld, gate += block.ld, up += block.ld) {
    for (size_t i = 0; i < block.columns; ++i) {
      const S g = S(gate[i]), u = S(up[i]);
      act[i] = W(g / (S(1) + std::exp(-argument_of(g, f).z)) * u);
    }
  }
}

template <class W>
void swiglu_forward_ref(W* act, const W* gate_up, size_t rows, size_t F, GateActivation f) {
  swiglu_forward_block_ref(act, F, gate_up, gate_up + F, {rows, F, 2 * F}, f);
}

template <class W>
void swiglu_backward_ref(W* dgate_up, const W* dact, const W* gate_up, size_t rows, size_t F,
                         GateActivation f) {
  using S = Stream<W>;
  for (size_t r = 0; r < rows; ++r) {
    const W* gate = gate_up + r * 2 * F;
    W* dgate = dgate_up + r * 2 * F;
    for (size_t i = 0; i < F; ++i) {
      const S g = S(gate[i]), u = S(gate[F + i]), d = S(dact[r * F + i]);
      const auto [z, slope] = argument_of(g, f);
      const S sigmoid = S(1) / (S(1) + std::exp(-z));
      dgate[i] = W(d * u * sigmoid * (S(1) + g * (S(1) - sigmoid) * slope));  // f' = s (1 + g (1 - s) z')
      dgate[F + i] = W(d * g * sigmoid);
    }
  }
}

#define FATHOM_INSTANTIATE(W)                                                                \
  template void swiglu_forward_block_ref(W*, size_t, const W*, const W*, const SwigluBlock&, \
                                         GateActivation);                                    \
  template void swiglu_forward_ref(W*, const W*, size_t, size_t, GateActivation);            \
  template void swiglu_backward_ref(W*, const W*, const W*, size_t, size_t, GateActivation);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
