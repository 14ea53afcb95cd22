#pragma once
// A soft cap on logits: y = cap tanh(x / cap).  Source: Gemma 2, arXiv:2408.00118, section 2.

#include <cstddef>

namespace fathom {

/// x (n) <- cap tanh(x / cap), on the calling thread.
template <class S>
void softcap_forward(S* x, S cap, size_t n);

/// dy (n) <- dy (1 - (y / cap)^2): the gradient of x, given that of y and y itself.
template <class S>
void softcap_backward(S* dy, const S* y, S cap, size_t n);

template <class S>
void softcap_forward_ref(S* x, S cap, size_t n);
template <class S>
void softcap_backward_ref(S* dy, const S* y, S cap, size_t n);

}  // namespace fathom
