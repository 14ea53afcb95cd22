#include "kernels/attention.h"

namespace fathom {

template <class W>
void attention_forward(W* out, Stream<W>* lse, const W* q, const W* k, const W* v, const AttentionShape& s) {
  attention_forward_ref(out, lse, q, k, v, s);
}
template <class W>
void attention_backward(W* dq, W* dk, W* dv, const W* dout, const W* out, const Stream<W>* lse, const W* q,
                        const W* k, const W* v, const AttentionShape& s) {
  attention_backward_ref(dq, dk, dv, dout, out, lse, q, k, v, s);
}

#define FATHOM_INSTANTIATE(W)                                                                            \
  template void attention_forward(W*, Stream<W>*, const W*, const W*, const W*, const AttentionShape&);  \
  template void attention_backward(W*, W*, W*, const W*, const W*, const Stream<W>*, const W*, const W*, \
                                   const W*, const AttentionShape&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
