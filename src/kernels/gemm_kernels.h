#pragma once
// Inside of gemm: what one instruction set offers to the blocked product, and the product over it.
//
// Operands are packed into units of 32 bits: one float, or two bf16 that are neighbours along K (what one
// lane of a bf16 dot product eats). Above the kernels nothing knows which of the two it is.

#include <cstddef>
#include <cstdint>

#include "kernels/gemm.h"
#include "kernels/isa.h"

namespace fathom::gemm_detail {

/// The largest MR * NR.
constexpr size_t kMaxTile = 8 * 48;

/// A corner of an operand, as a packing function reads it: line l, position p is data[(l * ld + p)].
struct Source {
  const std::byte* data;
  DType dtype;
  size_t ld;

  const std::byte* at(size_t line, size_t position) const {
    return data + (line * ld + position) * dtype_size(dtype);
  }
};

/// How many bytes ahead packing prefetches lines that run across K. The hardware's prefetchers follow a line,
/// but not from one to the next, which may begin on another page.
constexpr size_t kBytesAhead = 4096;

/// The same in lines, an even number, of which two at a time are packed; at least two.
constexpr size_t lines_ahead(size_t line_bytes) {
  return 2 * ((kBytesAhead + 2 * line_bytes - 1) / (2 * line_bytes));
}

/// What becomes of a tile of products: out = tile + acc + scale * addend; acc and addend may be null.
struct Store {
  void* out;
  DType dtype;  ///< Of out and addend: kF32 or kBf16.
  size_t ld;
  const float* acc;
  size_t acc_ld;
  const void* addend;
  size_t addend_ld;
  float scale;

  /// The same for the part that begins at row i, column j.
  Store at(size_t i, size_t j) const {
    const size_t size = dtype_size(dtype);
    Store s = *this;
    s.out = static_cast<std::byte*>(out) + (i * ld + j) * size;
    if (acc != nullptr) s.acc = acc + i * acc_ld + j;
    if (addend != nullptr) s.addend = static_cast<const std::byte*>(addend) + (i * addend_ld + j) * size;
    return s;
  }
};

/// The kernels of one instruction set for one format of units. MR x NR is the tile that stays in registers.
struct Kernels {
  size_t mr, nr;
  size_t k_per_unit;  ///< 1: float units; 2: pairs of bf16.
  DType direct;       ///< An A of this type, not transposed, needs no packing.

  /// tile (rows, NR) = sum over units of a x b, 1 <= rows <= MR. Unit u of row i of A is the 32 bits at
  /// a + i * row_stride + u * unit_stride (bytes, any alignment); b holds NR units for each u.
  void (*multiply)(size_t rows, size_t units, const std::byte* a, size_t row_stride, size_t unit_stride,
                   const uint32_t* b, float* tile);
  /// Applies `store` to a tile (rows, cols) whose rows are `tile_ld` apart; tile rows hold whole vectors.
  void (*store)(const float* tile, size_t tile_ld, size_t rows, size_t cols, const Store& store);
  /// Lines run along K: line l, k positions -> units at to + l * to_ld; a last odd k is paired with zero.
  /// `round` rounds floats to bf16 (float units only; pairs are bf16 anyway).
  void (*pack_lines)(uint32_t* to, size_t to_ld, Source from, size_t lines, size_t k, bool round);
  /// Lines run across K: k lines of `cols` positions -> panels of `width` columns, each (units, width),
  /// `panel` units apart; columns past `cols` in the last panel are zero. Writes nothing else, so that others
  /// may pack the lines before and behind.
  void (*pack_across)(uint32_t* to, size_t width, size_t panel, Source from, size_t k, size_t cols,
                      bool round);
};

/// Float units, through Highway: for kF32, and for kBf16 where the machine has no bf16 product.
const Kernels& float_kernels(Isa isa);
/// bf16 pairs (needs avx512_bf16).
const Kernels& bf16_kernels();

/// to (units, width) <- the transpose of lines of `units` units, `line_bytes` apart, at `from` (any
/// alignment). Lines from `lines` to `width` become zero.
void transpose_units(uint32_t* to, size_t width, const std::byte* from, size_t line_bytes, size_t lines,
                     size_t units);

/// Bytes that a product keeps between calls: the thread that calls it, and each that works on it; at most.
struct GemmScratch {
  size_t shared = 0;            ///< What is packed of B, for all.
  size_t shared_a = 0;          ///< And of an A whose lines run across K.
  size_t packed = 0, sums = 0;  ///< Of a thread: of A, and lines of B; partial sums.

  /// Buffers only grow.
  void include(const GemmScratch& other);
};

/// Of a product with the instruction set and the backend in force; a and c are the types of operands.
GemmScratch gemm_scratch(size_t M, size_t N, size_t K, DType a, bool a_transposed, DType c, Compute compute);

/// The product by cache blocks on `kernels`; M, N, K > 0; arguments as for gemm.
void multiply_blocked(const Kernels& kernels, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b,
                      MatrixOut c, Addend addend, bool round);

GemmScratch blocked_scratch(const Kernels& kernels, size_t M, size_t N, size_t K, DType c, bool a_transposed);

/// Up to this many rows, streaming B beats packing it.
constexpr size_t kFewRows = 4;

/// Sums (rows, cols), rows sums_ld apart, of x (rows, K) times cols columns of B; x's rows are padded with
/// zeros, and those of sums have room, for a whole vector.
struct FewRowsKernels {
  using Columns = void (*)(size_t rows, const float* x, size_t x_ld, Source b, size_t K, size_t cols,
                           bool round, float* sums, size_t sums_ld);
  Columns dot_columns;  ///< B's lines run along K.
  Columns add_columns;  ///< B's lines run across K.
};

/// The product for 1 <= M <= kFewRows; arguments as for gemm.
void multiply_few_rows(Isa isa, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c,
                       Addend addend, bool round);
GemmScratch few_rows_scratch(size_t K);

/// The product under kBf16 through oneDNN, with AMX where the processor has it; arguments as for gemm.
/// Operands in fp32 are rounded into scratch of their size. Errors: Error where oneDNN fails.
void multiply_onednn(size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c, Addend addend);

}  // namespace fathom::gemm_detail
