#pragma once
// Matrix products, the bulk of a transformer's time. One entry for all the transposes that training needs:
//   forward  y (rows,N)  = x (rows,K) W (N,K)^T          b transposed
//   dgrad    dx (rows,K) = dy (rows,N) W (N,K)
//   wgrad    dW (N,K)   += dy (rows,N)^T x (rows,K)      a transposed, addend = the gradient itself
// Goals: any size (no "multiple of 8"), any leading dimension, the same bits whatever the number of threads
// (the K dimension is never split among threads). Non-goals: batched or strided-batched products; attention
// has its own kernels.

#include <cstddef>

#include "core/types.h"

namespace fathom {

/// A matrix operand. Element (i, j) is data[i * ld + j], or data[j * ld + i] where `transposed` is set.
struct MatrixIn {
  const void* data;
  DType dtype;
  size_t ld;
  bool transposed = false;
};

/// Where the product goes, row-major.
struct MatrixOut {
  void* data;
  DType dtype;
  size_t ld;
};

/// c = a b + addend_scale * addend. `addend` has c's dtype and may be c itself (accumulation).
struct Addend {
  const void* data = nullptr;
  size_t ld = 0;
  double scale = 1.0;
};

/// The precision of the products: kF64 (reference only), kF32, or kBf16: operands are rounded to bf16 (those
/// in fp32 while they are packed), products are summed in fp32.
using Compute = DType;

/// c (M,N) = a (M,K) b (K,N) + addend_scale * addend. c must not overlap a or b. K may be 0 (c = addend
/// part). kF64 takes double operands and output; kF32 and kBf16 take float or bf16 ones in any mix. Errors:
/// none; the caller has checked sizes.
void gemm(size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c, Compute compute,
          Addend addend = {});

/// Whose code makes the bf16 products. kAuto: ours; on `amx` it is compared with gemm_ref once, on small
/// products, and if they disagree there is a warning and oneDNN's runs instead. kOwn: ours, unseen. kOneDnn
/// needs avx512_bf16; below it, and for fp32, ours runs whatever is set.
enum class GemmBackend { kAuto, kOwn, kOneDnn };

/// The backend in force; first use reads FATHOM_GEMM: "own", "onednn", or unset. Errors: Error (usage) for
/// another value.
GemmBackend gemm_backend();

/// Replaces the backend in force. Not to be called while a product runs.
void set_gemm_backend(GemmBackend backend);

/// gemm by three plain loops and a double accumulator (operands rounded to bf16 first under kBf16).
void gemm_ref(size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c, Compute compute,
              Addend addend = {});

}  // namespace fathom
