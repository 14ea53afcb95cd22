#pragma once
// The passes of swiglu.h, rope.h and rmsnorm.h over bf16 where the processor converts to it (Isa::kAvx512Bf16
// and up): twice the speed of the code for all instruction sets. To be called there only.

#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace fathom {

/// y = factor x weight, row by row.
template <class Y>
using ScaleRow = void (*)(Y* y, const float* x, const float* weight, float factor, size_t n);

void swiglu_forward_bf16(bf16* act, size_t act_ld, const bf16* gate, const bf16* up, const SwigluBlock& block,
                         GateActivation f);
/// swiglu_backward of whole rows, one behind the other, by the calling thread.
using SwigluBackwardRows = void (*)(bf16* dgate_up, const bf16* dact, const bf16* gate_up,
                                    const SwigluBlock& rows);
SwigluBackwardRows swiglu_backward_bf16(GateActivation f);
/// y[i] = factor x[i] weight[i], i < n
void scale_row_bf16(bf16* y, const float* x, const float* weight, float factor, size_t n);
void rope_block_bf16(bf16* a, bf16* b, const RopeBlock& block, const RopeTable<float>& table);

}  // namespace fathom
