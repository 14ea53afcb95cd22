#include "kernels/attention_dpbf16.h"

// One pass only: AVX-512, to which FATHOM_DPBF16 adds the bf16 dot product.
#include <hwy/base.h>
#define HWY_DISABLED_TARGETS (~(HWY_AVX3 | HWY_EMU128 | HWY_SCALAR))
#define FATHOM_DPBF16

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_dpbf16.cpp"
#include "kernels/attention_backward-inl.h"

#if HWY_ONCE
namespace fathom {

void attention_forward_blocks_dpbf16(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                                     const AttentionShape& shape, const ForwardPart& part, float* scratch) {
  N_AVX3::forward_blocks<N_AVX3::Bf16Panel>(out, lse, q, k, v, shape, part, scratch);
}

void attention_backward_heads_dpbf16(bf16* dq, bf16* dk, bf16* dv, const bf16* dout, const bf16* out,
                                     const float* lse, const bf16* q, const bf16* k, const bf16* v,
                                     const AttentionShape& shape, const BackwardPart& part, float* scratch) {
  N_AVX3::backward_heads<N_AVX3::Bf16Panel>(dq, dk, dv, dout, out, lse, q, k, v, shape, part, scratch);
}

}  // namespace fathom
#endif  // HWY_ONCE
