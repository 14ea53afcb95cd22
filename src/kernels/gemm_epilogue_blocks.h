#pragma once
// Inside of gemm: what epilogues (gemm_epilogues.h) make of blocks of sums, (kStrip, kStrip) each, of which
// `rows` rows count. Sums are rounded to bf16 first, as storing them would.

#include <cstddef>

#include "kernels/gemm_tiles.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace fathom::gemm_detail {

/// A block of a result, kStrip columns.
struct BlockTarget {
  bf16* data;
  size_t ld;
  bool streams;  ///< Past the caches, where the rows are whole lines; the caller fences.
};

/// Logits may exceed a row's shift by so much: e^60 times all of a vocabulary is far from a float's end.
constexpr float kMostAboveShift = 60.0f;

/// The exponentials of a row's logits, summed by column modulo 16.
struct alignas(64) ExpLanes {
  float sum[16];
};

struct EpilogueBlocks {
  /// act = f(gate) up
  void (*swiglu)(const float* gate, const float* up, size_t rows, const BlockTarget& act, GateActivation f);
  /// kStrip pairs (first, second) of each row rotated, by `block`'s rows and pairs.
  void (*rope)(const float* first, const float* second, const BlockTarget& first_out,
               const BlockTarget& second_out, const RopeBlock& block, const RopeTable<float>& table);
  /// kStrip / 2 pairs: a block's columns are a head.
  void (*rope_of_a_head)(const float* sums, const BlockTarget& out, const RopeBlock& block,
                         const RopeTable<float>& table);
  void (*store)(const float* sums, size_t rows, const BlockTarget& out);
  /// exp(logit - shift) of each row added to its lanes; `fresh`: shifts and lanes are set. A shift may be up
  /// to 60 below a row's highest logit.
  void (*add_exponentials)(const float* logits, size_t rows, bool fresh, float* shifts, ExpLanes* lanes);
};

/// With AVX-512 (needs avx512_bf16), and its reference.
const EpilogueBlocks& avx512_epilogue_blocks();
const EpilogueBlocks& plain_epilogue_blocks();

}  // namespace fathom::gemm_detail
