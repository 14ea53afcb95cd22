// The constants that are in force, measured by sending random signs through the step's own code.

#include <cmath>
#include <vector>

#include "core/rng.h"
#include "model/block_steps.h"

namespace fathom {
namespace {

constexpr size_t kProbeRows = 4;

// Mean of output / (gain * sign) over the elements whose gain is not tiny: what a norm multiplies a unit
// input by. An input of signs has mean square 1, so that the norm divides by sqrt(1 + eps), which is
// corrected for.
template <class Y, class S>
double norm_factor(const Y* out, const S* signs, const S* gain, size_t rows, size_t C, double eps) {
  double sum = 0;
  size_t n = 0;
  for (size_t i = 0; i < rows * C; ++i) {
    const auto g = static_cast<double>(gain[i % C]);
    if (std::abs(g) < 1e-6) continue;
    sum += static_cast<double>(out[i]) / (g * static_cast<double>(signs[i]));
    ++n;
  }
  return n == 0 ? 0.0 : sum / static_cast<double>(n) * std::sqrt(1.0 + eps);
}

}  // namespace

template <class W>
MeasuredStep measure_step(const StepPlan& plan, const StepVectors<const Stream<W>>& vectors,
                          const ModelConfig& config) {
  using S = Stream<W>;
  const size_t C = config.hidden_size, n = kProbeRows * C;
  const double eps = config.rms_norm_eps;
  std::vector<S> signs(n), x_out(n), y(n), sum(n), rstd(3 * kProbeRows);
  std::vector<W> h(n);
  Rng rng(0x5eed, C);
  for (S& s : signs) s = static_cast<S>(rng.sign());
  StepSaved<W> saved;
  saved.h = h.data();
  saved.y = y.data();
  saved.sum = sum.data();
  saved.rstd_in = rstd.data();
  saved.rstd_out = rstd.data() + kProbeRows;
  saved.rstd_sum = rstd.data() + 2 * kProbeRows;

  // Pass 1: a sublayer that puts out 0. What is left of the stream shows the residual factor and the norm of
  // the sum.
  const auto silent = [&](MatrixIn, S* out, Addend addend) {
    for (size_t i = 0; i < n; ++i) {
      out[i] = addend.data == nullptr ? S(0)
                                      : static_cast<S>(addend.scale) * static_cast<const S*>(addend.data)[i];
    }
  };
  MeasuredStep measured;
  step_forward<W>(x_out.data(), signs.data(), plan, vectors, saved, kProbeRows, C, eps, silent);
  const S* before_norm = plan.norm_sum ? sum.data() : x_out.data();
  for (size_t i = 0; i < n; ++i)
    measured.residual += static_cast<double>(before_norm[i] * signs[i]) / static_cast<double>(n);
  if (plan.norm_in)
    measured.in_scale = norm_factor(h.data(), signs.data(), vectors.norm_in, kProbeRows, C, eps);
  if (plan.norm_sum) {
    // The norm divides by the residual factor again: its input has mean square residual^2.
    const double r = measured.residual;
    measured.sum_scale = norm_factor(x_out.data(), signs.data(), vectors.norm_sum, kProbeRows, C, 0.0) *
                         std::sqrt(1.0 + eps / (r * r));
  }
  if (plan.norm_out || plan.gain) {
    // Pass 2: a sublayer that puts out the signs.
    const auto loud = [&](MatrixIn, S* out, Addend) { std::copy(signs.begin(), signs.end(), out); };
    step_forward<W>(x_out.data(), signs.data(), plan, vectors, saved, kProbeRows, C, eps, loud);
    for (size_t i = 0; i < n; ++i) x_out[i] -= static_cast<S>(measured.residual) * signs[i];
    if (plan.norm_out)
      measured.out_scale = norm_factor(x_out.data(), signs.data(), vectors.norm_out, kProbeRows, C, eps);
    for (size_t i = 0; plan.gain && i < n; ++i)
      measured.gain += static_cast<double>(x_out[i] * signs[i]) / static_cast<double>(n);
  }
  return measured;
}

template MeasuredStep measure_step<double>(const StepPlan&, const StepVectors<const double>&,
                                           const ModelConfig&);
template MeasuredStep measure_step<float>(const StepPlan&, const StepVectors<const float>&,
                                          const ModelConfig&);
template MeasuredStep measure_step<bf16>(const StepPlan&, const StepVectors<const float>&,
                                         const ModelConfig&);

}  // namespace fathom
