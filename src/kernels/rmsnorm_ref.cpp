#include "kernels/rmsnorm.h"

#include <cmath>

#include "core/types.h"

namespace fathom {

template <class S, class Y>
void rmsnorm_forward_ref(Y* y, S* rstd, const S* x, const S* weight, S scale, S eps, size_t rows, size_t C) {
  for (size_t r = 0; r < rows; ++r) {
    const S* x_r = x + r * C;
    double squares = 0;
    for (size_t i = 0; i < C; ++i) squares += static_cast<double>(x_r[i]) * static_cast<double>(x_r[i]);
    rstd[r] = static_cast<S>(1.0 / std::sqrt(squares / static_cast<double>(C) + static_cast<double>(eps)));
    for (size_t i = 0; i < C; ++i) y[r * C + i] = Y(scale * x_r[i] * rstd[r] * weight[i]);
  }
}

template <class S>
void rmsnorm_backward_ref(S* dx, bool accumulate, S* dweight, const S* dy, const S* x, const S* weight,
                          const S* rstd, S scale, size_t rows, size_t C) {
  for (size_t r = 0; r < rows; ++r) {
    const S* x_r = x + r * C;
    const S* dy_r = dy + r * C;
    S* dx_r = dx + r * C;
    double dot = 0;  // sum weight dy x
    for (size_t i = 0; i < C; ++i)
      dot += static_cast<double>(weight[i] * dy_r[i]) * static_cast<double>(x_r[i]);
    const S mean = static_cast<S>(dot / static_cast<double>(C)) * rstd[r] * rstd[r];
    for (size_t i = 0; i < C; ++i) {
      if (dweight != nullptr) dweight[i] += scale * dy_r[i] * x_r[i] * rstd[r];
      const S d = scale * rstd[r] * (weight[i] * dy_r[i] - x_r[i] * mean);
      dx_r[i] = accumulate ? dx_r[i] + d : d;
    }
  }
}

template void rmsnorm_forward_ref(double*, double*, const double*, const double*, double, double, size_t,
                                  size_t);
template void rmsnorm_forward_ref(float*, float*, const float*, const float*, float, float, size_t, size_t);
template void rmsnorm_forward_ref(bf16*, float*, const float*, const float*, float, float, size_t, size_t);
template void rmsnorm_backward_ref(double*, bool, double*, const double*, const double*, const double*,
                                   const double*, double, size_t, size_t);
template void rmsnorm_backward_ref(float*, bool, float*, const float*, const float*, const float*,
                                   const float*, float, size_t, size_t);

}  // namespace fathom
