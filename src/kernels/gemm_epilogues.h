#pragma once
// Products with the elementwise step that follows them. On AMX tiles the step is done on blocks of sums while
// they are near, so that what lies between is neither written and read again, nor read twice; elsewhere, and
// where sizes do not allow it, the step is a pass of its own. The bits are the same both ways (of losses:
// nearly).

#include <cstddef>

#include "kernels/gemm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace fathom {

/// act (M, F) = f(gate) up, where (gate, up) (M, 2F) = a (M, K) b (K, 2F) under W's precision. Rows are
/// dense. What is left in gate_up is undefined. (For a backward pass, which reads it: gemm and
/// swiglu_forward. Storing gate and up beside act from the same block was no faster than two passes:
/// docs/performance.md.)
template <class W>
void gemm_swiglu(W* act, W* gate_up, size_t M, size_t F, size_t K, MatrixIn a, MatrixIn b, GateActivation f);

/// The rotation of the first `heads` heads, of size HS, in each row of a product: `rope`'s arguments.
template <class W>
struct RopeOfRows {
  size_t heads, HS, T, first_position;
  const RopeTable<Stream<W>>* table;
};

/// c (M, N) = a (M, K) b (K, N), its heads rotated. Rows are dense.
template <class W>
void gemm_rope(W* c, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, const RopeOfRows<W>& rotation);

/// nll (M) = -log softmax(row of logits)[target], logits (M, V) = a (M, K) b (K, V) in bf16 products, which
/// are never stored; of a negative target 0. Exponentials are good to 1e-6: within 2e-6 of softmax_nll_row.
/// False, and nothing is done, where the product does not run on tiles or V does not fill panels.
bool gemm_softmax_nll(double* nll, const int32_t* targets, size_t M, size_t V, size_t K, MatrixIn a,
                      MatrixIn b);

namespace gemm_detail {

struct TileKernels;
/// The same on given tiles, for tests. False, and nothing is done, where sizes do not allow it.
bool swiglu_on_tiles(const TileKernels& kernels, bf16* act, size_t M, size_t F, size_t K, MatrixIn a,
                     MatrixIn b, GateActivation f);
bool softmax_nll_on_tiles(const TileKernels& kernels, double* nll, const int32_t* targets, size_t M, size_t V,
                          size_t K, MatrixIn a, MatrixIn b);
bool rope_on_tiles(const TileKernels& kernels, bf16* c, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b,
                   const RopeOfRows<bf16>& rotation);

}  // namespace gemm_detail
}  // namespace fathom
