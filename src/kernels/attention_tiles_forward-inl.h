#pragma once
// Attention on tiles, forward: strips of 32 queries against blocks of 128 keys, with the running sums of Milakov
// & Gimelshein 2018 (arXiv:1805.02867). The number that is taken off a row's scores before they are exponents is
// not their maximum but stays while the maximum is at most 8 (bits) above it: sums are then seldom scaled anew,
// and no row's maximum is needed, only whether a lane is above.

#include "kernels/attention_tiles-inl.h"

namespace fathom {
namespace {

constexpr float kSlack = 8.0f;

/// The running state of one strip of queries.
struct StripState {
  uint32_t* q;   ///< Packed as a strip of A.
  float* sum_v;  ///< (32, HSp) sum of p v, where p = 2^(factor score - shift).
  float* sum;    ///< (32, 16) sum of p, lane by lane.
  float* shift;  ///< (32)
  const int32_t* first_key;
  size_t t0, rows;
  size_t first_j, end_j;  ///< The keys that any of the rows sees; first_j is the first of a block.
};

inline StripState load_strip(TileScratch& memory, const bf16* q, const AttentionShape& s, size_t b, size_t h,
                             size_t t0, size_t rows, size_t HSp) {
  StripState strip{};
  strip.t0 = t0;
  strip.rows = rows;
  strip.q = memory.take_steps(HSp / kStepDepth);
  strip.sum_v = memory.take(kTileStrip * HSp);
  strip.sum = memory.take(kTileStrip * kLanes);
  strip.shift = memory.take(kTileStrip);
  pack_lines(strip.q, gemm_detail::avx512_tile_packing().a_along, q + (b * s.Tq + t0) * s.q_stride + h * s.HS,
             s.q_stride, rows, s.HS);
  __builtin_memset(strip.sum, 0, kTileStrip * kLanes * sizeof(float));
  for (size_t r = 0; r < kTileStrip; ++r) strip.shift[r] = kLowest;
  strip.end_j = s.q_start + t0 + rows;
  if (s.first_key != nullptr) {
    strip.first_key = s.first_key + b * s.Tq + t0;
    int32_t lowest = strip.first_key[0];
    for (size_t r = 1; r < rows; ++r) lowest = strip.first_key[r] < lowest ? strip.first_key[r] : lowest;
    strip.first_j = static_cast<size_t>(lowest) / kTileBlock * kTileBlock;
  }
  return strip;
}

/// One row of scores, of which it sees [first, last): the shift, where it must move; p as a row of a strip of
/// A; their sum.
template <bool masked>
[[gnu::always_inline]] inline void softmax_row(uint32_t* p, const float* scores, const StripState& strip, size_t r,
                                               float factor, size_t first, size_t last, size_t columns,
                                               size_t HSp, bool fresh) {
  __m512 most = _mm512_set1_ps(kLowest);
  for (size_t c = 0; c < columns; c += kLanes) {
    const __m512 score = _mm512_load_ps(scores + c);
    if constexpr (masked)
      most = _mm512_mask_max_ps(most, visible_lanes(c, first, last), most, score);
    else
      most = _mm512_max_ps(most, score);
  }
  const __m512 vfactor = _mm512_set1_ps(factor);
  __m512 sum = _mm512_load_ps(strip.sum + r * kLanes);
  const __m512 limit = _mm512_set1_ps(strip.shift[r] + kSlack);
  if (_mm512_cmp_ps_mask(_mm512_mul_ps(most, vfactor), limit, _CMP_GT_OQ) != 0) {
    const float shift = factor * _mm512_reduce_max_ps(most);
    const __m512 smaller = exp2_less_half(_mm512_set1_ps(strip.shift[r] - shift + 0.5f));
    strip.shift[r] = shift;
    sum = _mm512_mul_ps(sum, smaller);
    for (size_t i = 0; !fresh && i < HSp; i += kLanes) {
      float* v = strip.sum_v + r * HSp + i;
      _mm512_store_ps(v, _mm512_mul_ps(_mm512_load_ps(v), smaller));
    }
  }
  const __m512 base = _mm512_set1_ps(0.5f - strip.shift[r]);
  for (size_t c = 0; c < columns; c += 2 * kLanes, p += kStepUnits) {
    __m512 e[2];
#pragma GCC unroll 2
    for (size_t x = 0; x < 2; ++x) {
      e[x] = exp2_less_half(_mm512_fmadd_ps(_mm512_load_ps(scores + c + x * kLanes), vfactor, base));
      if constexpr (masked) e[x] = _mm512_maskz_mov_ps(visible_lanes(c + x * kLanes, first, last), e[x]);
    }
    sum = _mm512_add_ps(sum, _mm512_add_ps(e[0], e[1]));
    store_along(p, e[0], e[1]);
  }
  _mm512_store_ps(strip.sum + r * kLanes, sum);
}

/// The same for all rows of a strip, against the keys [j0, j0 + columns).
inline void softmax_strip(uint32_t* p, const float* scores, const StripState& strip, const AttentionShape& s,
                          float factor, size_t j0, size_t columns, size_t HSp, bool fresh) {
  for (size_t r = 0; r < strip.rows; ++r) {
    const size_t position = s.q_start + strip.t0 + r;
    size_t first = 0, last = position < j0 ? 0 : position + 1 - j0;
    if (last > columns) last = columns;
    if (strip.first_key != nullptr && static_cast<size_t>(strip.first_key[r]) > j0)
      first = static_cast<size_t>(strip.first_key[r]) - j0;
    uint32_t* p_row = p + r * kLanes;
    const float* row = scores + r * kTileBlock;
    if (first >= last) {
      for (size_t c = 0; c < columns; c += 2 * kLanes)
        _mm512_store_si512(p_row + c / kStepDepth * kStepUnits, _mm512_setzero_si512());
    } else if (first > 0 || last < columns) {
      softmax_row<true>(p_row, row, strip, r, factor, first, last, columns, HSp, fresh);
    } else {
      softmax_row<false>(p_row, row, strip, r, factor, first, last, columns, HSp, fresh);
    }
  }
}

/// factor * from, (HS) floats, as bf16.
inline void write_halves(bf16* to, const float* from, float factor, size_t HS) {
  const __m512 vfactor = _mm512_set1_ps(factor);
  for (size_t i = 0; i < HS; i += kLanes) {
    const auto half = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_mul_ps(vfactor, _mm512_load_ps(from + i))));
    const auto mask = static_cast<__mmask16>(HS - i >= kLanes ? 0xffffu : (1u << (HS - i)) - 1u);
    _mm256_mask_storeu_epi16(to + i, mask, half);
  }
}

template <class Tiles>
void forward_on_tiles(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                      const AttentionShape& s, const ForwardPart& part, float* scratch) {
  const gemm_detail::ConfiguredTiles configured(Tiles::configure, Tiles::release);
  const gemm_detail::TilePacking& packing = gemm_detail::avx512_tile_packing();
  constexpr size_t kPanels = kTileBlock / kTileStrip;
  const size_t HS = s.HS, HSp = round_up(HS, kTileStrip), steps = HSp / kStepDepth;
  const size_t limit = part.t0 + part.blocks * kAttentionBlock, end = limit < s.Tq ? limit : s.Tq;
  const float factor = static_cast<float>(s.score_scale()) * kLog2e;

  TileScratch memory{scratch};
  uint32_t *k_panels = memory.take_steps(kPanels * steps), *v_panels = memory.take_steps(kPanels * steps);
  float* scores = memory.take(kTileStrip * kTileBlock);
  uint32_t* p = memory.take_steps(kPanels);
  StripState strips[kTileForwardQueries / kTileStrip];
  size_t count = 0, first_j = s.Tk, end_j = 0;
  for (size_t t0 = part.t0; t0 < end; t0 += kTileStrip, ++count) {
    const size_t rows = end - t0 < kTileStrip ? end - t0 : kTileStrip;
    strips[count] = load_strip(memory, q, s, part.b, part.h, t0, rows, HSp);
    first_j = strips[count].first_j < first_j ? strips[count].first_j : first_j;
    end_j = strips[count].end_j;
  }

  const size_t kv = part.b * s.kv_batch_stride + part.h / (s.NH / s.NKV) * HS;
  for (size_t j0 = first_j; j0 < end_j; j0 += kTileBlock) {
    const size_t keys = end_j - j0 < kTileBlock ? end_j - j0 : kTileBlock, at = kv + j0 * s.kv_stride;
    const size_t v_steps = (keys + kStepDepth - 1) / kStepDepth;
    pack_lines(k_panels, packing.b_along, k + at, s.kv_stride, keys, HS);
    pack_positions(v_panels, packing.b_across, v + at, s.kv_stride, keys, HS);
    for (size_t i = 0; i < count; ++i) {
      const StripState& strip = strips[i];
      if (j0 < strip.first_j || j0 >= strip.end_j) continue;
      const size_t seen = strip.end_j - j0 < kTileBlock ? strip.end_j - j0 : kTileBlock;
      const size_t panels = (seen + kTileStrip - 1) / kTileStrip;
      for (size_t n = 0; n < panels; ++n)
        multiply_strip<Tiles, false>(scores + n * kTileStrip, kTileBlock, strip.q,
                                     k_panels + n * steps * kStepUnits, steps);
      const bool fresh = j0 == strip.first_j;
      softmax_strip(p, scores, strip, s, factor, j0, panels * kTileStrip, HSp, fresh);
      for (size_t n = 0; n < steps; ++n) {
        const auto multiply = fresh ? multiply_strip<Tiles, false> : multiply_strip<Tiles, true>;
        multiply(strip.sum_v + n * kTileStrip, HSp, p, v_panels + n * v_steps * kStepUnits, panels);
      }
    }
  }
  for (size_t i = 0; i < count; ++i) {
    const StripState& strip = strips[i];
    for (size_t r = 0; r < strip.rows; ++r) {
      const size_t t = strip.t0 + r;
      const float sum = _mm512_reduce_add_ps(_mm512_load_ps(strip.sum + r * kLanes));
      lse[(part.b * s.NH + part.h) * s.Tq + t] = strip.shift[r] * kLn2 + __builtin_logf(sum);
      write_halves(out + (part.b * s.Tq + t) * s.NH * HS + part.h * HS, strip.sum_v + r * HSp, 1.0f / sum, HS);
    }
  }
}

}  // namespace
}  // namespace fathom
