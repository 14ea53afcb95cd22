#include "kernels/attention_tiles.h"

#include "core/error.h"
#include "kernels/tiles_amx.h"
#include "kernels/tiles_emulated.h"

// Everything below, and nothing above, may use AVX-512 (see gemm_avx512_bf16.cpp).
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#include "kernels/attention_tiles_backward-inl.h"
#include "kernels/attention_tiles_forward-inl.h"

namespace fathom {

const TileAttention& amx_attention() {
  static const TileAttention passes{forward_on_tiles<gemm_detail::AmxTiles>,
                                    backward_on_tiles<gemm_detail::AmxTiles>};
  return passes;
}

const TileAttention& emulated_attention() {
  static const TileAttention passes{forward_on_tiles<gemm_detail::EmulatedTiles>,
                                    backward_on_tiles<gemm_detail::EmulatedTiles>};
  return passes;
}

}  // namespace fathom

#pragma GCC pop_options
