#include "kernels/gemm.h"

namespace fathom {

void gemm(size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c, Compute compute, Addend addend) {
  gemm_ref(M, N, K, a, b, c, compute, addend);
}

}  // namespace fathom
