#pragma once
// Inside of gemm on tiles: how a product is cut. Why each size is what it is: gemm_tiles.cpp.

#include <algorithm>
#include <utility>

#include "core/threads.h"
#include "kernels/gemm_blocks.h"
#include "kernels/gemm_tiles_panels.h"

namespace fathom::gemm_detail {

/// Strips that go through the blocks of K together, with sums in L1: what L1 holds of B is loaded from L2
/// once for these. (With two, 3% slower.)
constexpr size_t kGroup = 4;
/// Depth that is packed before the product runs where partial sums can live in a float C: 2048 rows of x, as
/// a weight gradient reads them, are packed at once. A product that is deeper and has a bf16 C keeps its sums
/// in memory from one such depth to the next.
constexpr size_t kPackedDepth = 2048;
/// Bytes of A that stay in L2 while a tile of C is made.
constexpr size_t kBytesInL2 = size_t{1} << 20;
/// Tiles of C for each thread, so that the last to finish is not waited for long, and their fewest columns,
/// below which packing A would weigh more.
constexpr size_t kTilesPerThread = 2, kFewestColumns = 256;

/// What is packed of B at once. A bf16 C would round each partial sum, so there it is all of K. A is packed
/// anew for each part of the columns, of which a B that is packed already needs no more than one.
inline Cut depths_of(size_t K, DType c) { return {K, c == DType::kF32 ? kPackedDepth : K, kBlockDepth}; }
inline Cut columns_of(size_t N, size_t depth, size_t packed_bytes, size_t together = kStrip) {
  return {N, std::max(together, packed_bytes / (2 * depth) / together * together), together};
}
/// What a tile of C goes through of that, one after the other.
inline Cut tile_depths_of(size_t depth) { return {depth, kPackedDepth, kStepDepth}; }

/// Tiles of C, (M, n) in all: as the cache allows, then halved until the threads have enough of them: rows
/// first, which does not make anybody pack A again.
inline std::pair<Cut, Cut> tiles_of_c(size_t M, size_t n, const Cut& tile_depths, size_t together = kStrip) {
  size_t rows = std::max(kGroup * kStrip, kBytesInL2 / (2 * tile_depths.part)), cols = n;
  const size_t wanted = num_threads() > 1 ? kTilesPerThread * num_threads() : 1;
  const auto few = [&] { return ceil_div(M, rows) * ceil_div(n, cols) < wanted; };
  while (few() && rows > kGroup * kStrip) rows = std::max(kGroup * kStrip, rows / 2);
  while (few() && cols > kFewestColumns) cols = std::max(kFewestColumns, cols / 2);
  return {Cut(M, rows, kGroup * kStrip), Cut(n, cols, together)};
}

/// Blocks of sums of a tile of C, of one side of its pairs, that are kept at once: those of a group, or all
/// where partial sums wait for the next depth.
inline size_t blocks_kept(size_t rows, size_t columns, const Cut& tile_depths) {
  return tile_depths.count() == 1 ? kGroup : ceil_div(rows, kStrip) * ceil_div(columns, kStrip);
}

}  // namespace fathom::gemm_detail
