#pragma once
// Gated activations: act = f(gate) * up.  Source: Shazeer 2020, arXiv:2002.05202.
//   SwiGLU: f(g) = silu(g) = g sigmoid(g)
//   GeGLU:  f(g) = gelu(g) by its tanh form, 0.5 g (1 + tanh(u)), u = sqrt(2/pi) (g + 0.044715 g^3)
//           (Hendrycks & Gimpel 2016, arXiv:1606.08415), which is g sigmoid(2u)

#include <cstddef>

#include "core/types.h"

namespace fathom {

enum class GateActivation { kSilu, kGeluTanh };

/// act (rows, F) from gate_up (rows, 2F): columns [0, F) are the gate, [F, 2F) the up projection.
template <class W>
void swiglu_forward(W* act, const W* gate_up, size_t rows, size_t F,
                    GateActivation f = GateActivation::kSilu);

/// dgate_up (rows, 2F) from dact (rows, F) and gate_up. dgate_up may alias gate_up.
template <class W>
void swiglu_backward(W* dgate_up, const W* dact, const W* gate_up, size_t rows, size_t F,
                     GateActivation f = GateActivation::kSilu);

/// The forward of a block of columns of some rows, by the calling thread: rows of act are act_ld apart, of
/// gate and up ld. Bit for bit what the whole gives. Lines `ahead` numbers behind those of gate and up are
/// asked for.
struct SwigluBlock {
  size_t rows, columns, ld;
  std::ptrdiff_t ahead = 0;
};
template <class W>
void swiglu_forward_block(W* act, size_t act_ld, const W* gate, const W* up, const SwigluBlock& block,
                          GateActivation f);
template <class W>
void swiglu_forward_block_ref(W* act, size_t act_ld, const W* gate, const W* up, const SwigluBlock& block,
                              GateActivation f);
template <class W>
void swiglu_forward_ref(W* act, const W* gate_up, size_t rows, size_t F,
                        GateActivation f = GateActivation::kSilu);
template <class W>
void swiglu_backward_ref(W* dgate_up, const W* dact, const W* gate_up, size_t rows, size_t F,
                         GateActivation f = GateActivation::kSilu);

}  // namespace fathom
