#pragma once
// Inside of gemm on tiles: packing strips and panels out of matrices.

#include <algorithm>

#include "kernels/gemm_blocks.h"
#include "kernels/gemm_tiles.h"

namespace fathom::gemm_detail {

/// Positions along K that a strip goes through with a panel of B, 32 KiB of it, in L1: see gemm_tiles.cpp.
constexpr size_t kBlockDepth = 512;

inline size_t steps_of(size_t k) { return ceil_div(k, kStepDepth); }

/// Lines that run across K, k of them from `from` on, are packed step by step for all strips or panels,
/// `extent` positions in all: a line is then read on, not in pieces of 64 bytes. The next step's lines begin
/// on other pages, where no prefetcher of the hardware looks for them. to_of(i): where strip i begins.
template <class ToOf>
void pack_across(PackTiles pack, Source from, size_t extent, size_t k, const ToOf& to_of) {
  for (size_t at = 0; at < k; at += kStepDepth) {
    for (size_t i = 0; i * kStrip < extent; ++i) {
      const size_t width = std::min(kStrip, extent - i * kStrip);
      for (size_t l = at + kStepDepth; l < std::min(k, at + 2 * kStepDepth); ++l) {
        const std::byte* line = from.at(l, i * kStrip);
        __builtin_prefetch(line);
        if (from.dtype == DType::kF32) __builtin_prefetch(line + 64);
      }
      pack(to_of(i) + steps_of(at) * kStepUnits, {from.at(at, i * kStrip), from.dtype, from.ld}, width,
           std::min(kStepDepth, k - at));
    }
  }
}

/// A part of B: columns [n0, n0 + n), positions [k0, k0 + k) along K.
struct PartOfB {
  size_t n0, n, k0, k;
};

/// Packs a part of B by all threads: panels one behind the other, each over all of k.
void pack_part(const TilePacking& packing, uint32_t* b, const MatrixIn& from, const PartOfB& part);

}  // namespace fathom::gemm_detail
