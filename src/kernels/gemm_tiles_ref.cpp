// Tile registers and packing in plain C++: the reference of the AMX product, and the way in which its driver
// is tested on other machines.

#include <cstring>

#include "kernels/gemm_epilogue_blocks.h"
#include "kernels/gemm_tiles-inl.h"
#include "kernels/tiles_emulated.h"

namespace fathom::gemm_detail {
namespace {

uint16_t bits(const Source& from, size_t line, size_t position) {
  if (from.dtype == DType::kF32) {
    float v;
    std::memcpy(&v, from.at(line, position), 4);
    return bf16(flushed(v)).bits;
  }
  uint16_t v;
  std::memcpy(&v, from.at(line, position), 2);
  return v;
}

// Puts element (i, k) of a strip or panel into unit (row, column) of a step's tiles.
template <bool of_b, bool across>
void pack(uint32_t* to, Source from, size_t extent, size_t k) {
  std::memset(to, 0, ceil_div(k, kStepDepth) * kStepBytes);
  for (size_t i = 0; i < extent; ++i) {
    for (size_t p = 0; p < k; ++p) {
      const uint32_t half = across ? bits(from, p, i) : bits(from, i, p);
      const size_t unit = p % kStepDepth / 2, tile = i / kTileRows, line = i % kTileRows;
      const size_t row = of_b ? unit : line, column = of_b ? line : unit;
      to[p / kStepDepth * kStepUnits + (tile * kTileRows + row) * kTileUnits + column] |= half << p % 2 * 16;
    }
  }
}

}  // namespace

TileKernels emulated_tile_kernels(const TilePacking& packing) {
  return {EmulatedTiles::configure, EmulatedTiles::release, multiply_tile_block<EmulatedTiles>,
          multiply_tile_block_and_ask<EmulatedTiles>, packing};
}

namespace {

void store_sums(const float* sums, size_t rows, size_t cols, const Store& store) {
  float_kernels(Isa::kScalar).store(sums, kStrip, rows, cols, store);
}

}  // namespace

const TilePacking& plain_tile_packing() {
  static const TilePacking packing{pack<false, false>,
                                   pack<false, true>,
                                   pack<true, false>,
                                   pack<true, true>,
                                   store_sums,
                                   store_sums,
                                   [] {},
                                   &plain_epilogue_blocks()};
  return packing;
}

}  // namespace fathom::gemm_detail
