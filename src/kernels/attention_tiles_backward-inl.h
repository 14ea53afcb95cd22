#pragma once
// Attention on tiles, backward: one key/value head, with the query heads that read it (Dao et al. 2022,
// arXiv:2205.14135, algorithm 4). Scores are made transposed, keys down and queries across: a row of their
// probabilities is then a row of A for the sums over queries (dk, dv), two rows are a row of B for the sums
// over keys (dq, transposed), and what belongs to a query (lse, delta) lies in lanes. Nothing 16-bit is
// transposed but the operands, once.

#include "kernels/attention_tiles_forward-inl.h"

namespace fathom {
namespace {

/// The keys and values of one head, strip after strip, and the gradients' sums (T, HSp).
struct TileKeys {
  uint32_t *k_lines, *v_lines;  ///< Strips of A: scores; gradient of the probabilities.
  uint32_t* k_positions;        ///< For each block of keys, strips of A across them: dq.
  float *dk, *dv;
};

/// The block of 128 queries at work, and one strip of keys against it.
struct TileQueries {
  uint32_t *q_lines, *dout_lines;          ///< Panels of B: scores; gradient of the probabilities.
  uint32_t *q_positions, *dout_positions;  ///< Panels of B along the queries: dk, dv.
  float* dq;                               ///< (HSp, 128), transposed.
  float* lse2;          ///< lse in units of log 2, less 1/2; for padding so high that probabilities are 0.
  float* delta;         ///< scale sum_i dout_i out_i = scale sum_j p_j dp_j.
  float *scores, *dp;   ///< (32, 32), twice each: one is read while the next is made.
  uint32_t *p, *ds;     ///< Strips of A along the queries.
  uint32_t* ds_across;  ///< Panels of B along the keys: panel n at n * 4 steps.
  alignas(64) int32_t first_key[kTileBlock];
  size_t t0, rows, panels;
  RowsAhead next_queries, next_keys;  ///< Of the head that comes next.
  RowsAhead dq_rows, key_gradients;   ///< To be written after this block: dq; dk and dv after the last.
  size_t ahead, keys_ahead;           ///< Rows to ask for with each strip of keys.
  bool masked;                        ///< Whether first_key counts.
};

/// Loads block [t0, t0 + 128) of the queries of head h.
inline void load_queries(TileQueries& block, const bf16* q, const bf16* dout, const bf16* out,
                         const float* lse, const int32_t* first_key, const AttentionShape& s, size_t rows,
                         float scale) {
  const gemm_detail::TilePacking& packing = gemm_detail::avx512_tile_packing();
  const size_t out_stride = s.NH * s.HS;
  block.rows = rows;
  block.panels = (rows + kTileStrip - 1) / kTileStrip;
  block.masked = first_key != nullptr;
  pack_lines(block.q_lines, packing.b_along, q, s.q_stride, rows, s.HS);
  pack_lines(block.dout_lines, packing.b_along, dout, out_stride, rows, s.HS);
  pack_positions(block.q_positions, packing.b_across, q, s.q_stride, rows, s.HS);
  pack_positions(block.dout_positions, packing.b_across, dout, out_stride, rows, s.HS);
  for (size_t r = 0; r < kTileBlock; ++r) {
    block.lse2[r] = -kLowest;
    block.delta[r] = 0.0f;
    block.first_key[r] = 0;
  }
  for (size_t r = 0; r < rows; ++r) {
    block.lse2[r] = lse[r] * kLog2e - 0.5f;
    if (block.masked) block.first_key[r] = first_key[r];
    __m512 sum = _mm512_setzero_ps();
    for (size_t i = 0; i < s.HS; i += kStepDepth) {
      const __mmask32 mask = s.HS - i >= kStepDepth ? ~__mmask32(0) : (__mmask32(1) << (s.HS - i)) - 1;
      const size_t at = r * out_stride + i;
      sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(_mm512_maskz_loadu_epi16(mask, dout + at)),
                             reinterpret_cast<__m512bh>(_mm512_maskz_loadu_epi16(mask, out + at)));
    }
    block.delta[r] = scale * _mm512_reduce_add_ps(sum);
  }
}

/// p = 2^(factor scores - lse2) and ds = p (scale dp - delta), 0 where not visible, for one strip of keys,
/// the first of which is `key`, and panel n of the queries.
template <bool masked>
void probabilities_and_gradients(const TileQueries& block, const float* scores, const float* dp, size_t strip,
                                 size_t key, size_t n, float factor, float scale) {
  constexpr size_t kTileUnits = kStepUnits / 2, kStrips = kTileBlock / kTileStrip;
  const __m512 vfactor = _mm512_set1_ps(factor), vscale = _mm512_set1_ps(scale);
  uint32_t* across = block.ds_across + (n * kStrips + strip) * kStepUnits;
  __m512 lse2[2], delta[2];
  [[maybe_unused]] __m512i position[2], first_key[2];  // of the queries
#pragma GCC unroll 2
  for (size_t y = 0; y < 2; ++y) {
    if constexpr (masked) {
      const size_t column = n * kTileStrip + y * kLanes;
      position[y] =
          _mm512_add_epi32(lane_numbers(), _mm512_set1_epi32(static_cast<int32_t>(block.t0 + column)));
      first_key[y] = _mm512_load_si512(block.first_key + column);
    }
    lse2[y] = _mm512_load_ps(block.lse2 + n * kTileStrip + y * kLanes);
    delta[y] = _mm512_load_ps(block.delta + n * kTileStrip + y * kLanes);
  }
  for (size_t r = 0; r < kTileStrip; r += 2, across += kLanes) {
    __m512 p[2][2], ds[2][2];  // [row][half of the panel]
#pragma GCC unroll 2
    for (size_t x = 0; x < 2; ++x) {
#pragma GCC unroll 2
      for (size_t y = 0; y < 2; ++y) {
        const size_t at = (r + x) * kTileStrip + y * kLanes;
        p[x][y] = exp2_less_half(_mm512_fmsub_ps(vfactor, _mm512_load_ps(scores + at), lse2[y]));
        ds[x][y] = _mm512_mul_ps(p[x][y], _mm512_fmsub_ps(vscale, _mm512_load_ps(dp + at), delta[y]));
        if constexpr (masked) {
          const __m512i j = _mm512_set1_epi32(static_cast<int32_t>(key + r + x));
          const __mmask16 see =
              _mm512_mask_cmple_epi32_mask(_mm512_cmple_epi32_mask(j, position[y]), first_key[y], j);
          p[x][y] = _mm512_maskz_mov_ps(see, p[x][y]);
          ds[x][y] = _mm512_maskz_mov_ps(see, ds[x][y]);
        }
      }
      store_along(block.p + n * kStepUnits + (r + x) * kLanes, p[x][0], p[x][1]);
      store_along(block.ds + n * kStepUnits + (r + x) * kLanes, ds[x][0], ds[x][1]);
    }
    store_across(across, ds[0][0], ds[1][0]);
    store_across(across + kTileUnits, ds[0][1], ds[1][1]);
  }
}

/// Brings (32, HSp) sums near, which the products after these add to.
inline void prefetch_sums(const float* sums, size_t HSp) {
  for (size_t i = 0; i < kTileStrip * HSp; i += kLanes) __builtin_prefetch(sums + i, 1);
}

/// dq (rows, HS) of a block from its transpose: packing across rounds and transposes.
inline void write_dq(bf16* dq, const TileQueries& block, size_t stride, size_t HS, uint32_t* lines) {
  const size_t steps = (HS + kStepDepth - 1) / kStepDepth;
  for (size_t r = 0; r < block.rows; r += kTileStrip) {
    const size_t rows = block.rows - r < kTileStrip ? block.rows - r : kTileStrip;
    const Source from{reinterpret_cast<const std::byte*>(block.dq + r), DType::kF32, kTileBlock};
    gemm_detail::avx512_tile_packing().a_across(lines, from, rows, HS);
    for (size_t s = 0; s < steps; ++s) {
      const size_t left = HS - s * kStepDepth;
      const __mmask32 mask = left >= kStepDepth ? ~__mmask32(0) : (__mmask32(1) << left) - 1;
      for (size_t i = 0; i < rows; ++i)
        _mm512_mask_storeu_epi16(dq + (r + i) * stride + s * kStepDepth, mask,
                                 _mm512_load_si512(lines + s * kStepUnits + i * kLanes));
    }
  }
}

/// The five products of a block of queries with the keys [j0, j0 + 128); strips before `first_strip` of them
/// are seen by no query. `fresh_keys`: whether dk and dv of this block of keys are not yet written;
/// `fresh_queries`: whether dq is not.
template <class Tiles>
void backward_block(TileQueries& block, const TileKeys& head, size_t j0, size_t first_strip, size_t T,
                    size_t HSp, float factor, float scale, bool fresh_keys, bool fresh_queries) {
  constexpr size_t kStrips = kTileBlock / kTileStrip;
  const size_t steps = HSp / kStepDepth;
  const bool diagonal = j0 == block.t0;
  const size_t strips = diagonal ? block.panels : kStrips;
  for (size_t i = first_strip; i < strips; ++i) {
    const size_t key = j0 + i * kTileStrip, begin = diagonal ? i : 0,
                 at = key / kTileStrip * steps * kStepUnits;
    const auto multiply_panel = [&](size_t n) {
      const size_t panel = n * steps * kStepUnits, half = n % 2 * kTileStrip * kTileStrip;
      multiply_strip<Tiles, false, true>(block.scores + half, kTileStrip, head.k_lines + at,
                                         block.q_lines + panel, steps);
      multiply_strip<Tiles, false, true>(block.dp + half, kTileStrip, head.v_lines + at,
                                         block.dout_lines + panel, steps);
    };
    block.next_queries.ask(block.ahead);
    block.next_keys.ask(block.ahead);
    block.dq_rows.ask<true>(block.ahead);
    block.key_gradients.ask<true>(block.keys_ahead);
    multiply_panel(begin);
    prefetch_sums(head.dv + key * HSp, HSp);
    prefetch_sums(head.dk + key * HSp, HSp);
    for (size_t n = begin; n < block.panels; ++n) {
      if (n + 1 < block.panels) multiply_panel(n + 1);
      const size_t half = n % 2 * kTileStrip * kTileStrip;
      const auto pass = block.masked || (diagonal && n == i) ? probabilities_and_gradients<true>
                                                             : probabilities_and_gradients<false>;
      pass(block, block.scores + half, block.dp + half, i, key, n, factor, scale);
    }
    const auto multiply = fresh_keys ? multiply_strip<Tiles, false> : multiply_strip<Tiles, true>;
    for (size_t n = 0; n < steps; ++n) {
      const size_t to = key * HSp + n * kTileStrip, panel = (n * block.panels + begin) * kStepUnits;
      multiply(head.dv + to, HSp, block.p + begin * kStepUnits, block.dout_positions + panel,
               block.panels - begin);
      multiply(head.dk + to, HSp, block.ds + begin * kStepUnits, block.q_positions + panel,
               block.panels - begin);
    }
  }
  const auto multiply = fresh_queries ? multiply_strip<Tiles, false> : multiply_strip<Tiles, true>;
  const size_t key_steps = (T - j0 < kTileBlock ? T - j0 + kStepDepth - 1 : kTileBlock) / kStepDepth;
  for (size_t n = 0; n < block.panels; ++n) {
    const size_t end = diagonal ? n + 1 : strips;
    for (size_t i = 0; i < steps; ++i) {
      multiply(block.dq + i * kTileStrip * kTileBlock + n * kTileStrip, kTileBlock,
               head.k_positions + (j0 / kTileStrip * steps + i * key_steps + first_strip) * kStepUnits,
               block.ds_across + (n * kStrips + first_strip) * kStepUnits, end - first_strip);
    }
  }
}

/// All queries of head h against the keys of its group; `fresh`: whether dk and dv are not yet written.
/// `writes_keys`: whether they are written after it; `last`: whether no head comes after it.
template <class Tiles>
void backward_queries(TileQueries& block, const TileKeys& head, const TileGradients& a,
                      const AttentionShape& s, size_t b, size_t h, size_t HSp, bool fresh, bool writes_keys,
                      bool last) {
  const size_t T = s.Tq, HS = s.HS, o_stride = s.NH * HS;
  const auto scale = static_cast<float>(s.score_scale());
  for (size_t t0 = 0; t0 < T; t0 += kTileBlock) {
    const size_t rows = T - t0 < kTileBlock ? T - t0 : kTileBlock;
    const size_t q_at = (b * T + t0) * s.q_stride + h * HS, o_at = (b * T + t0) * o_stride + h * HS;
    const int32_t* first_key = s.first_key == nullptr ? nullptr : s.first_key + b * T + t0;
    const size_t first = first_key_of(first_key, rows) / kTileStrip * kTileStrip;
    block.t0 = t0;
    load_queries(block, a.q + q_at, a.dout + o_at, a.out + o_at, a.lse + (b * s.NH + h) * T + t0, first_key,
                 s, rows, scale);
    block.next_queries = block.key_gradients = {};
    if (writes_keys && t0 + rows == T) {
      const size_t kv = b * s.kv_batch_stride + h / (s.NH / s.NKV) * HS;
      block.key_gradients = {{a.dk + kv, a.dv + kv}, {s.kv_stride, s.kv_stride}, 2, 0, T, HS};
    }
    if (!last) {
      block.next_queries = {{a.q + q_at + HS, a.dout + o_at + HS, a.out + o_at + HS},
                            {s.q_stride, o_stride, o_stride},
                            3,
                            0,
                            rows,
                            HS};
    }
    block.dq_rows = {{a.dq + q_at}, {s.q_stride}, 1, 0, rows, HS};
    const size_t strips = (t0 + rows - first + kTileStrip - 1) / kTileStrip;
    block.ahead = (rows + strips - 1) / strips;
    block.keys_ahead = (block.key_gradients.rows + strips - 1) / strips;
    const size_t first_block = first / kTileBlock * kTileBlock;
    for (size_t j0 = first_block; j0 < t0 + rows; j0 += kTileBlock) {
      const size_t first_strip = j0 < first ? (first - j0) / kTileStrip : 0;
      // A block of keys meets the queries of its own positions first, and all of its strips do.
      backward_block<Tiles>(block, head, j0, first_strip, T, HSp, scale * kLog2e, scale, fresh && j0 == t0,
                            j0 == first_block);
    }
    write_dq(a.dq + q_at, block, s.q_stride, HS, block.q_lines);
  }
}

template <class Tiles>
void backward_on_tiles(const TileGradients& a, const AttentionShape& s, size_t b, size_t g, size_t heads,
                       float* scratch) {
  const gemm_detail::ConfiguredTiles configured(Tiles::configure, Tiles::release);
  const gemm_detail::TilePacking& packing = gemm_detail::avx512_tile_packing();
  constexpr size_t kStrips = kTileBlock / kTileStrip;
  const size_t T = s.Tq, HS = s.HS, HSp = round_up(HS, kTileStrip), steps = HSp / kStepDepth,
               group = s.NH / s.NKV;
  const size_t all = round_up(T, kTileBlock);

  TileScratch memory{{scratch}};
  const size_t key_steps = all / kTileStrip * steps, query_steps = kStrips * steps;
  const TileKeys head{memory.take_steps(key_steps), memory.take_steps(key_steps),
                      memory.take_steps(key_steps), memory.take(all * HSp), memory.take(all * HSp)};
  TileQueries block;
  block.q_lines = memory.take_steps(query_steps);
  block.dout_lines = memory.take_steps(query_steps);
  block.q_positions = memory.take_steps(query_steps);
  block.dout_positions = memory.take_steps(query_steps);
  block.dq = memory.take(kTileBlock * HSp);
  block.lse2 = memory.take(kTileBlock);
  block.delta = memory.take(kTileBlock);
  block.scores = memory.take(2 * kTileStrip * kTileStrip);
  block.dp = memory.take(2 * kTileStrip * kTileStrip);
  block.p = memory.take_steps(kStrips);
  block.ds = memory.take_steps(kStrips);
  block.ds_across = memory.take_steps(kStrips * kStrips);

  for (size_t end = g + heads; g < end; ++g) {
    const size_t kv = b * s.kv_batch_stride + g * HS;
    const bf16 *k = a.k + kv, *v = a.v + kv;
    pack_lines(head.k_lines, packing.a_along, k, s.kv_stride, T, HS);
    pack_lines(head.v_lines, packing.a_along, v, s.kv_stride, T, HS);
    for (size_t j0 = 0; j0 < T; j0 += kTileBlock) {
      const size_t keys = T - j0 < kTileBlock ? T - j0 : kTileBlock;
      pack_positions(head.k_positions + j0 / kTileStrip * steps * kStepUnits, packing.a_across,
                     k + j0 * s.kv_stride, s.kv_stride, keys, HS);
    }
    block.next_keys = {};
    if (g + 1 < end)
      block.next_keys = {{k + HS, v + HS, nullptr}, {s.kv_stride, s.kv_stride, 0}, 2, 0, T, HS};
    for (size_t h = g * group; h < (g + 1) * group; ++h)
      backward_queries<Tiles>(block, head, a, s, b, h, HSp, h == g * group, h + 1 == (g + 1) * group,
                              h + 1 == end * group);
    for (size_t j = 0; j < T; ++j) {
      write_halves(a.dk + kv + j * s.kv_stride, head.dk + j * HSp, 1.0f, HS);
      write_halves(a.dv + kv + j * s.kv_stride, head.dv + j * HSp, 1.0f, HS);
    }
  }
}

}  // namespace
}  // namespace fathom
