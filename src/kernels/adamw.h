#pragma once
// AdamW in one pass over a parameter: moments, decay, update, and the bf16 copy that the next forward reads.
//
// The moments may be kept in bf16, which halves the optimizer's memory. They are then rounded
// stochastically: with beta2 = 0.999 a step changes v by at most a thousandth, less than half of bf16's step
// of 1/128 to 1/256, so that rounding to nearest would give the old v back for ever.

#include <cstddef>
#include <cstdint>

#include "core/types.h"

namespace fathom {

struct AdamWSettings {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0.0;  ///< Decoupled; the caller sets 0 for tensors that do not decay.
  double grad_scale = 1.0;    ///< Factor on the gradient: the clipping's min(1, clip / norm).
  uint64_t step = 1;          ///< 1-based, for the bias correction.
  // For moments in bf16: element i of the call is rounded by the random bits of (seed, step, first + i).
  uint64_t seed = 0;
  uint64_t first = 0;
};

/// p <- p (1 - lr wd) - lr m^ / (sqrt(v^) + eps), with m, v updated from grad_scale * g and bias-corrected
/// m^, v^. Shapes: all (n). `copy` (n), where not null, receives p rounded to bf16. Source: Loshchilov &
/// Hutter 2017, arXiv:1711.05101, algorithm 2.
/// Moments are of type M: S itself, or bf16 beside float parameters. The update uses the new moments before
/// they are rounded; what is stored is stochastic_bf16 of them, so that its expectation is theirs.
template <class S, class M>
void adamw_update(S* p, M* m, M* v, const S* g, bf16* copy, size_t n, const AdamWSettings& settings);

/// In double; with moments in bf16, in fp32 by the same operations as the fast one, so that equal random bits
/// give equal bits.
template <class S, class M>
void adamw_update_ref(S* p, M* m, M* v, const S* g, bf16* copy, size_t n, const AdamWSettings& settings);

}  // namespace fathom
