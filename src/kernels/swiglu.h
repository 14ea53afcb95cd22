#pragma once
// SwiGLU: act = silu(gate) * up, silu(z) = z / (1 + exp(-z)).  Source: Shazeer 2020, arXiv:2002.05202.

#include <cstddef>

#include "core/types.h"

namespace fathom {

/// act (rows, F) from gate_up (rows, 2F): columns [0, F) are the gate, [F, 2F) the up projection.
template <class W>
void swiglu_forward(W* act, const W* gate_up, size_t rows, size_t F);

/// dgate_up (rows, 2F) from dact (rows, F) and gate_up. dgate_up may alias gate_up.
template <class W>
void swiglu_backward(W* dgate_up, const W* dact, const W* gate_up, size_t rows, size_t F);

template <class W>
void swiglu_forward_ref(W* act, const W* gate_up, size_t rows, size_t F);
template <class W>
void swiglu_backward_ref(W* dgate_up, const W* dact, const W* gate_up, size_t rows, size_t F);

}  // namespace fathom
