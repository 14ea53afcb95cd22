#include "kernels/adamw.h"

namespace fathom {

template <class S>
void adamw_update(S* p, S* m, S* v, const S* g, bf16* copy, size_t n, const AdamWSettings& settings) {
  adamw_update_ref(p, m, v, g, copy, n, settings);
}

template void adamw_update(double*, double*, double*, const double*, bf16*, size_t, const AdamWSettings&);
template void adamw_update(float*, float*, float*, const float*, bf16*, size_t, const AdamWSettings&);

}  // namespace fathom
