#pragma once
// AdamW in one pass over a parameter: moments, decay, update, and the bf16 copy that the next forward reads.

#include <cstddef>
#include <cstdint>

#include "core/types.h"

namespace fathom {

struct AdamWSettings {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0.0;  ///< Decoupled; the caller sets 0 for tensors that do not decay.
  double grad_scale = 1.0;    ///< Factor on the gradient: the clipping's min(1, clip / norm).
  uint64_t step = 1;          ///< 1-based, for the bias correction.
};

/// p <- p (1 - lr wd) - lr m^ / (sqrt(v^) + eps), with m, v updated from grad_scale * g and bias-corrected
/// m^, v^. Shapes: all (n). `copy` (n), where not null, receives p rounded to bf16. Source: Loshchilov &
/// Hutter 2017, arXiv:1711.05101, algorithm 2.
template <class S>
void adamw_update(S* p, S* m, S* v, const S* g, bf16* copy, size_t n, const AdamWSettings& settings);

template <class S>
void adamw_update_ref(S* p, S* m, S* v, const S* g, bf16* copy, size_t n, const AdamWSettings& settings);

}  // namespace fathom
