#include "kernels/scratch.h"

#include <algorithm>

#include "core/threads.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/gemm_kernels.h"

namespace fathom {
namespace {

// The products of a step (src/model/block.cpp, cross_entropy.cpp): of each linear layer the forward, the
// gradient of its input and that of its weight.
gemm_detail::GemmScratch products_of(const KernelSizes& s) {
  gemm_detail::GemmScratch all;
  const DType wide = DType::kF32;
  const auto add = [&](size_t M, size_t N, size_t K, DType a, DType c, bool a_transposed = false) {
    all.include(gemm_detail::gemm_scratch(M, N, K, a, a_transposed, c, s.compute));
  };
  const auto add_gradient = [&](size_t out, size_t in, size_t rows, DType a) {
    add(out, in, rows, a, wide, true);
  };
  // q|k|v and gate|up, as one product or in parts.
  for (const size_t out : {s.q, s.kv, s.q + 2 * s.kv, s.F, 2 * s.F}) {
    add(s.rows, out, s.C, s.compute, s.compute);
    add(s.rows, s.C, out, s.compute, wide);
    add_gradient(out, s.C, s.rows, s.compute);
  }
  for (const size_t in : {s.q, s.F}) {  // into the stream
    add(s.rows, s.C, in, s.compute, wide);
    add(s.rows, in, s.C, wide, s.compute);
    add_gradient(s.C, in, s.rows, wide);
  }
  const size_t chunk = std::min(s.rows, head_chunk_rows(s.V));
  for (const size_t n : {chunk, chunk == 0 ? 0 : s.rows % chunk}) {
    add(n, s.V, s.C, s.compute, wide);
    add(n, s.C, s.V, s.compute, wide);
    add_gradient(s.V, s.C, n, s.compute);
  }
  return all;
}

}  // namespace

size_t kernel_scratch_bytes(const KernelSizes& s) {
  if (s.compute == DType::kF64) return 0;
  const gemm_detail::GemmScratch products = products_of(s);
  const size_t attention = attention_scratch_bytes(s.compute, s.T, s.q / s.HS, s.HS, s.caps_scores);
  const size_t sequences = s.T == 0 ? 0 : s.rows / s.T;
  const size_t shared =
      products.shared + products.shared_a +
      attention_shared_bytes(s.compute, sequences, s.T, s.q / s.HS, s.kv / s.HS, s.HS, s.caps_scores);
  const size_t capped = s.caps_logits ? s.V * sizeof(float) : 0;  // a row of logits before its gradient
  return shared + num_threads() * (products.packed + products.sums + attention + capped);
}

}  // namespace fathom
