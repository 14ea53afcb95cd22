#include "kernels/gemm.h"

#include "kernels/gemm_kernels.h"
#include "kernels/isa.h"

namespace fathom {

void gemm(size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c, Compute compute, Addend addend) {
  if (M == 0 || N == 0) return;
  if (compute == DType::kF64 || K == 0) return gemm_ref(M, N, K, a, b, c, compute, addend);
  const Isa isa = active_isa();
  if (M <= gemm_detail::kFewRows) {
    gemm_detail::multiply_few_rows(isa, M, N, K, a, b, c, addend, compute == DType::kBf16);
  } else if (compute == DType::kBf16 && isa >= Isa::kAvx512Bf16) {
    gemm_detail::multiply_blocked(gemm_detail::bf16_kernels(), M, N, K, a, b, c, addend, false);
  } else {
    gemm_detail::multiply_blocked(gemm_detail::float_kernels(isa), M, N, K, a, b, c, addend,
                                  compute == DType::kBf16);
  }
}

}  // namespace fathom
