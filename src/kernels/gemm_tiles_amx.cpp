#include "kernels/gemm_tiles-inl.h"
#include "kernels/tiles_amx.h"

#if defined(__x86_64__)

namespace fathom::gemm_detail {

const TileKernels& amx_kernels() {
  static const TileKernels kernels{AmxTiles::configure, AmxTiles::release, multiply_tile_block<AmxTiles>,
                                   avx512_tile_packing()};
  return kernels;
}

}  // namespace fathom::gemm_detail

#else

#include "core/error.h"

namespace fathom::gemm_detail {

const TileKernels& amx_kernels() { fail("this processor has no amx"); }

}  // namespace fathom::gemm_detail

#endif
