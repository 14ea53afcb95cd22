#include <cmath>

#include "kernels/softcap.h"

namespace fathom {

template <class S>
void softcap_forward_ref(S* x, S cap, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] = cap * std::tanh(x[i] / cap);
}

template <class S>
void softcap_backward_ref(S* dy, const S* y, S cap, size_t n) {
  for (size_t i = 0; i < n; ++i) dy[i] *= S(1) - (y[i] / cap) * (y[i] / cap);
}

template void softcap_forward_ref(double*, double, size_t);
template void softcap_forward_ref(float*, float, size_t);
template void softcap_backward_ref(double*, const double*, double, size_t);
template void softcap_backward_ref(float*, const float*, float, size_t);

}  // namespace fathom
