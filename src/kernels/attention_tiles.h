#pragma once
// Attention's blocks on AMX tiles: bf16 operands, sums in fp32; probabilities and their gradients are rounded
// to bf16 where a product reads them. Vector code is AVX-512's, so that avx512_bf16 is needed beside tiles.

#include <cstddef>

#include "core/types.h"
#include "kernels/attention.h"
#include "kernels/attention_plan.h"

namespace fathom {

/// Queries of a piece of a forward's work: each piece packs the keys that it sees.
constexpr size_t kTileForwardQueries = 1024;

/// Strips of queries or keys, and what head sizes are padded to: two tiles.
constexpr size_t kTileStrip = 32;
/// Keys of a block (and queries, backward): so many products run between a load and a store of running sums
/// that these hide behind them, and the scores of a strip (16 KiB) stay in the first-level cache.
constexpr size_t kTileBlock = 128;

/// Floats of scratch that a forward on tiles needs: keys and values in bf16, and one strip of queries.
constexpr size_t tile_forward_scratch_size(size_t T, size_t HS) {
  const size_t HSp = round_up(HS, kTileStrip);
  return round_up(T, kTileBlock) * HSp                         // keys and values, bf16
         + kTileStrip * kTileBlock * 3 / 2                     // scores, probabilities
         + kTileStrip * (HSp / 2 + HSp + kTileStrip / 2 + 1);  // queries, sums
}

/// Floats of scratch that a backward on tiles over one key/value head needs: keys twice and values in bf16,
/// two gradients, and the blocks. Linear in T.
constexpr size_t tile_backward_scratch_size(size_t T, size_t HS) {
  const size_t HSp = round_up(HS, kTileStrip);
  return round_up(T, kTileBlock) * HSp * 7 / 2 + kTileBlock * (4 * HSp / 2 + HSp + 2) +
         4 * kTileStrip * kTileStrip + kTileStrip * kTileBlock + kTileBlock * kTileBlock / 2;
}

/// The arrays of a backward pass (attention_backward).
struct TileGradients {
  bf16 *dq, *dk, *dv;
  const bf16 *dout, *out;
  const float* lse;
  const bf16 *q, *k, *v;
};

/// The passes for one implementation of tile registers. No softcap.
struct TileAttention {
  /// Queries [part.t0, part.t0 + 64 part.blocks) of part.heads heads; part.t0 a multiple of kTileStrip, at
  /// most kTileForwardQueries of them. What a query computes does not depend on the others.
  void (*forward)(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                  const AttentionShape& shape, const ForwardPart& part, float* scratch);
  /// `heads` key/value heads of sequence b from g on, with the query heads that read them, one after the
  /// other.
  void (*backward)(const TileGradients& arrays, const AttentionShape& shape, size_t b, size_t g, size_t heads,
                   float* scratch);
};

/// On the real registers (needs amx), and on emulated ones (needs avx512_bf16), for tests.
const TileAttention& amx_attention();
const TileAttention& emulated_attention();

}  // namespace fathom
