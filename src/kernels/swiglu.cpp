#include "kernels/swiglu.h"

namespace fathom {

template <class W>
void swiglu_forward(W* act, const W* gate_up, size_t rows, size_t F) {
  swiglu_forward_ref(act, gate_up, rows, F);
}
template <class W>
void swiglu_backward(W* dgate_up, const W* dact, const W* gate_up, size_t rows, size_t F) {
  swiglu_backward_ref(dgate_up, dact, gate_up, rows, F);
}

#define FATHOM_INSTANTIATE(W)                                 \
  template void swiglu_forward(W*, const W*, size_t, size_t); \
  template void swiglu_backward(W*, const W*, const W*, size_t, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
