#include "kernels/gemm_tiles_plan.h"

namespace fathom::gemm_detail {

GemmScratch tiles_scratch(size_t M, size_t N, size_t K, DType c) {
  const Cut depths = depths_of(K, c), columns = columns_of(N, depths.size(0), kTilesMostShared);
  const Cut tile_depths = tile_depths_of(depths.size(0));
  GemmScratch scratch{.shared = ceil_div(columns.size(0), kStrip) * steps_of(depths.size(0)) * kStepBytes};
  for (const size_t n : {columns.size(0), N}) {  // N: where B is packed already
    for (const size_t sides : {1, 2}) {          // 2: where an epilogue takes pairs
      const auto [rows, cols] = tiles_of_c(M, ceil_div(n, sides), tile_depths);
      const size_t strips = ceil_div(rows.size(0), kStrip);
      scratch.include({.packed = strips * steps_of(tile_depths.size(0)) * kStepBytes,
                       .sums = sides * blocks_kept(rows.size(0), cols.size(0), tile_depths) * kBlockSums *
                               sizeof(float)});
    }
  }
  return scratch;
}

}  // namespace fathom::gemm_detail
