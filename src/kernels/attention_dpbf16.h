#pragma once
// Attention's blocks with bf16 dot products (AVX512_BF16): the same source as the other instruction sets,
// compiled apart, since one more target attribute is in force.

#include <cstddef>

#include "core/types.h"
#include "kernels/attention.h"
#include "kernels/attention_plan.h"

namespace fathom {

/// forward_blocks and backward_heads of attention_forward-inl.h and attention_backward-inl.h for pairs of
/// bf16. To be called from Isa::kAvx512Bf16 up only.
void attention_forward_blocks_dpbf16(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                                     const AttentionShape& shape, const ForwardPart& part, float* scratch);
void attention_backward_heads_dpbf16(bf16* dq, bf16* dk, bf16* dv, const bf16* dout, const bf16* out,
                                     const float* lse, const bf16* q, const bf16* k, const bf16* v,
                                     const AttentionShape& shape, const BackwardPart& part, float* scratch);

}  // namespace fathom
