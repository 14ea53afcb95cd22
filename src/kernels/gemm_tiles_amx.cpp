#include "kernels/gemm_tiles-inl.h"
#include "kernels/tiles_amx.h"

namespace fathom::gemm_detail {

const TileKernels& amx_kernels() {
  static const TileKernels kernels{AmxTiles::configure, AmxTiles::release, multiply_tile_block<AmxTiles>,
                                   multiply_tile_block_and_ask<AmxTiles>, avx512_tile_packing()};
  return kernels;
}

}  // namespace fathom::gemm_detail
