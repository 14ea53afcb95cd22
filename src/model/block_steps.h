#pragma once
// Internal to model/: a step's wiring around a sublayer, the one place where norms, gains and residuals are
// applied.

#include <cassert>

#include "kernels/gemm.h"
#include "kernels/rmsnorm.h"
#include "kernels/vector_ops.h"
#include "model/block.h"

namespace fathom {

/// x_out = the step applied to x. `sublayer(MatrixIn input, S* y, Addend addend)` must compute
/// y (rows, C) = F(input) + addend.scale * addend.data.
template <class W, class Sublayer>
void step_forward(Stream<W>* x_out, const Stream<W>* x, const StepPlan& plan,
                  const StepVectors<const Stream<W>>& vectors, StepSaved<W>& saved, size_t rows, size_t C,
                  double eps, const Sublayer& sublayer) {
  using S = Stream<W>;
  assert(!(plan.norm_out && plan.gain));
  saved.x = x;
  MatrixIn input{x, dtype_of<S>(), C};
  if (plan.norm_in) {
    rmsnorm_forward(saved.h, saved.rstd_in, x, vectors.norm_in, static_cast<S>(plan.in_scale),
                    static_cast<S>(eps), rows, C);
    input = {saved.h, dtype_of<W>(), C};
  }
  S* sum = plan.norm_sum ? saved.sum : x_out;
  if (!plan.norm_out && !plan.gain) {
    sublayer(input, sum, Addend{x, C, plan.residual});
  } else {
    sublayer(input, saved.y, Addend{});
    if (plan.norm_out)
      rmsnorm_forward(x_out, saved.rstd_out, saved.y, vectors.norm_out, S(1), static_cast<S>(eps), rows, C);
    else
      gain_forward(x_out, saved.y, vectors.gain, rows, C);
    residual_add(sum, x, x_out, static_cast<S>(plan.residual), rows * C);
  }
  if (plan.norm_sum)
    rmsnorm_forward(x_out, saved.rstd_sum, sum, vectors.norm_sum, S(1), static_cast<S>(eps), rows, C);
}

/// x_out = what is left of the step where its sublayer contributes nothing (y = 0): see LayerPart.
template <class W>
void step_without_sublayer(Stream<W>* x_out, const Stream<W>* x, const StepPlan& plan,
                           const StepVectors<const Stream<W>>& vectors, StepSaved<W>& saved, size_t rows,
                           size_t C, double eps) {
  using S = Stream<W>;
  S* sum = plan.norm_sum ? saved.sum : x_out;
  scaled_copy(sum, x, static_cast<S>(plan.residual), rows * C);
  if (plan.norm_sum)
    rmsnorm_forward(x_out, saved.rstd_sum, sum, vectors.norm_sum, S(1), static_cast<S>(eps), rows, C);
}

/// dx: gradient of x_out on entry, of x on exit. `sublayer_backward(const S* dy, S* dinput, Addend addend)`
/// must add the sublayer's weight gradients and compute dinput (rows, C) = F'(dy) + addend.scale *
/// addend.data; dinput may be addend.
template <class W, class SublayerBackward>
void step_backward(Stream<W>* dx, const StepPlan& plan, const StepVectors<const Stream<W>>& vectors,
                   const StepVectors<Stream<W>>& gradients, const StepSaved<W>& saved,
                   BlockScratch<W>& scratch, size_t rows, size_t C,
                   const SublayerBackward& sublayer_backward) {
  using S = Stream<W>;
  // x' = N_sum(s)
  if (plan.norm_sum) {
    rmsnorm_backward(dx, false, gradients.norm_sum, dx, saved.sum, vectors.norm_sum, saved.rstd_sum, S(1),
                     rows, C);
  }
  // s = residual x + y;  y = N_out(F) or g F
  const S* dy = dx;
  if (plan.norm_out) {
    rmsnorm_backward(scratch.dy, false, gradients.norm_out, dx, saved.y, vectors.norm_out, saved.rstd_out,
                     S(1), rows, C);
    dy = scratch.dy;
  } else if (plan.gain) {
    gain_backward(scratch.dy, gradients.gain, dx, saved.y, vectors.gain, rows, C);
    dy = scratch.dy;
  }
  // h = in_scale N_in(x), or x itself
  if (plan.norm_in) {
    sublayer_backward(dy, scratch.dh, Addend{});
    if (plan.residual != 1.0) scaled_copy(dx, dx, static_cast<S>(plan.residual), rows * C);
    rmsnorm_backward(dx, true, gradients.norm_in, scratch.dh, saved.x, vectors.norm_in, saved.rstd_in,
                     static_cast<S>(plan.in_scale), rows, C);
  } else {
    sublayer_backward(dy, dx, Addend{dx, C, plan.residual});
  }
}

}  // namespace fathom
