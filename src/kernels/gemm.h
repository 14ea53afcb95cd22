#pragma once
// Matrix products, the bulk of a transformer's time. One entry for all the transposes that training needs:
//   forward  y (rows,N)  = x (rows,K) W (N,K)^T          b transposed
//   dgrad    dx (rows,K) = dy (rows,N) W (N,K)
//   wgrad    dW (N,K)   += dy (rows,N)^T x (rows,K)      a transposed, addend = the gradient itself
// Goals: any size (no "multiple of 8"), any leading dimension, the same bits whatever the number of threads
// (the K dimension is never split among threads). Non-goals: batched or strided-batched products; attention
// has its own kernels.

#include <cstddef>
#include <cstdint>

#include "core/types.h"

namespace fathom {

/// A matrix operand. Element (i, j) is data[i * ld + j], or data[j * ld + i] where `transposed` is set.
struct MatrixIn {
  const void* data;
  DType dtype;
  size_t ld;
  bool transposed = false;
  /// Of the second operand alone: the same matrix as pack_matrix made it, or null. It saves the packing; the
  /// bits are the same.
  const uint32_t* packed = nullptr;
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

/// A matrix that many products read as their second operand, such as a weight until the optimizer's next
/// step, is worth packing once. Whether products under `compute` read what is packed: on AMX tiles, with the
/// instruction set and the backend in force.
bool reads_packed_matrices(Compute compute);

/// The size of b (K, N) packed, in units of 4 bytes.
size_t packed_units(size_t K, size_t N);

/// Packs b (K, N), float or bf16, for MatrixIn::packed of products with the same K and N.
void pack_matrix(uint32_t* to, size_t K, size_t N, MatrixIn b);

/// The packed forms of a weight W (N, K): for y = x W^T and for dx = dy W; null where there is none.
struct PackedWeight {
  const uint32_t *forward = nullptr, *dgrad = nullptr;
};

/// Whose code makes the bf16 products. kAuto: ours; on `amx` it and attention are compared with their
/// references once, on small cases, and if they disagree there is a warning and oneDNN's products and
/// attention without tiles run instead. kOwn: ours, unseen. kOneDnn needs avx512_bf16; below it, for fp32,
/// and for up to 4 rows of a, ours runs whatever is set.
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
