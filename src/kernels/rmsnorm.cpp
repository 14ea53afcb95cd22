#include "kernels/rmsnorm.h"

#include "core/types.h"

namespace fathom {

template <class S, class Y>
void rmsnorm_forward(Y* y, S* rstd, const S* x, const S* weight, S scale, S eps, size_t rows, size_t C) {
  rmsnorm_forward_ref(y, rstd, x, weight, scale, eps, rows, C);
}
template <class S>
void rmsnorm_backward(S* dx, bool accumulate, S* dweight, const S* dy, const S* x, const S* weight,
                      const S* rstd, S scale, size_t rows, size_t C) {
  rmsnorm_backward_ref(dx, accumulate, dweight, dy, x, weight, rstd, scale, rows, C);
}

template void rmsnorm_forward(double*, double*, const double*, const double*, double, double, size_t, size_t);
template void rmsnorm_forward(float*, float*, const float*, const float*, float, float, size_t, size_t);
template void rmsnorm_forward(bf16*, float*, const float*, const float*, float, float, size_t, size_t);
template void rmsnorm_backward(double*, bool, double*, const double*, const double*, const double*,
                               const double*, double, size_t, size_t);
template void rmsnorm_backward(float*, bool, float*, const float*, const float*, const float*, const float*,
                               float, size_t, size_t);

}  // namespace fathom
