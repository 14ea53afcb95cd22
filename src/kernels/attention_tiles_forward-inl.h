#pragma once
// Attention on tiles, forward: strips of 32 queries against blocks of 128 keys, with the running sums of
// Milakov & Gimelshein 2018 (arXiv:1805.02867). The number that is taken off a row's scores before they are
// exponents is not their maximum but stays while the maximum is at most 8 (bits) above it: sums are then
// seldom scaled anew, and the maximum need not be known before the exponentials, which are made again where
// it was above.

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

/// Makes `strip` that of the queries [t0, t0 + rows).
inline void load_strip(StripState& strip, const bf16* q, const AttentionShape& s, size_t b, size_t h,
                       size_t t0, size_t rows, size_t HSp) {
  strip.t0 = t0;
  strip.rows = rows;
  pack_lines(strip.q, gemm_detail::avx512_tile_packing().a_along, q + (b * s.Tq + t0) * s.q_stride + h * s.HS,
             s.q_stride, rows, s.HS);
  __builtin_memset(strip.sum, 0, kTileStrip * kLanes * sizeof(float));
  __builtin_memset(strip.sum_v, 0, kTileStrip * HSp * sizeof(float));
  for (size_t r = 0; r < kTileStrip; ++r) strip.shift[r] = kLowest;
  strip.end_j = s.q_start + t0 + rows;
  strip.first_key = s.first_key == nullptr ? nullptr : s.first_key + b * s.Tq + t0;
  strip.first_j = first_key_of(strip.first_key, rows) / kTileBlock * kTileBlock;
}

/// The keys of a block that a row sees, [first, last): none where last <= first.
struct VisibleKeys {
  size_t first, last;
  int32_t first_lane, last_lane;

  VisibleKeys(size_t first_, size_t last_)
      : first(first_),
        last(last_),
        first_lane(static_cast<int32_t>(first_)),
        last_lane(static_cast<int32_t>(last_)) {}

  bool none_of(size_t column, size_t columns) const { return column >= last || column + columns <= first; }
  bool all_of(size_t column, size_t columns) const { return column >= first && column + columns <= last; }
  __mmask16 lanes(size_t column) const {
    const __m512i at = _mm512_add_epi32(lane_numbers(), _mm512_set1_epi32(static_cast<int32_t>(column)));
    return _mm512_mask_cmplt_epi32_mask(_mm512_cmpge_epi32_mask(at, _mm512_set1_epi32(first_lane)), at,
                                        _mm512_set1_epi32(last_lane));
  }
};

/// What row r of a strip sees of the keys [j0, j0 + columns).
inline VisibleKeys visible_keys(const StripState& strip, const AttentionShape& s, size_t r, size_t j0,
                                size_t columns) {
  const size_t position = s.q_start + strip.t0 + r;
  size_t first = 0, last = position < j0 ? 0 : position + 1 - j0;
  if (last > columns) last = columns;
  if (strip.first_key != nullptr && static_cast<size_t>(strip.first_key[r]) > j0)
    first = static_cast<size_t>(strip.first_key[r]) - j0;
  return {first, last};
}

/// The largest of the scores that a row sees, lane by lane.
[[gnu::always_inline]] inline __m512 row_maxima(const float* scores, const VisibleKeys& keys,
                                                size_t columns) {
  __m512 most = _mm512_set1_ps(kLowest);
  for (size_t c = 0; c < columns && c < keys.last; c += kLanes) {
    const __m512 score = _mm512_load_ps(scores + c);
    most = keys.all_of(c, kLanes) ? _mm512_max_ps(most, score)
                                  : _mm512_mask_max_ps(most, keys.lanes(c), most, score);
  }
  return most;
}

/// The shifts of a strip whose sums are still 0: the maxima of 16 rows at once, since one after the other
/// each would wait for its own.
inline void first_shifts(const StripState& strip, const float* scores, const AttentionShape& s, float factor,
                         size_t j0, size_t columns) {
  for (size_t r = 0; r < strip.rows; r += kLanes) {
    __m512 maxima[kLanes];
    for (size_t i = 0; i < kLanes; ++i) {
      maxima[i] = r + i < strip.rows ? row_maxima(scores + (r + i) * kTileBlock,
                                                  visible_keys(strip, s, r + i, j0, columns), columns)
                                     : _mm512_set1_ps(kLowest);
    }
    const __m512 most = reduce_rows<Larger>(maxima);
    const __mmask16 sees = _mm512_cmp_ps_mask(most, _mm512_set1_ps(kLowest), _CMP_NEQ_UQ);
    _mm512_mask_store_ps(strip.shift + r, sees, _mm512_mul_ps(_mm512_set1_ps(factor), most));
  }
}

/// Moves the shift of a row up to its largest score, and makes its sums relative to that.
inline void move_shift(const StripState& strip, size_t r, float highest, size_t HSp) {
  const __m512 smaller = exp2_less_half(_mm512_set1_ps(strip.shift[r] - highest + 0.5f));
  strip.shift[r] = highest;
  const auto scale = [&](float* p) { _mm512_store_ps(p, _mm512_mul_ps(_mm512_load_ps(p), smaller)); };
  scale(strip.sum + r * kLanes);
  for (size_t i = 0; i < HSp; i += kLanes) scale(strip.sum_v + r * HSp + i);
}

/// p of a row as a row of a strip of A, their sum, and the largest exponent, lane by lane. Goes by 32 keys:
/// those that the row does not see are only zeroed, and masked where it sees a part of them.
[[gnu::always_inline]] inline __m512 exponentiate_row(uint32_t* p, __m512* sum, const float* scores,
                                                      float shift, float factor, const VisibleKeys& keys,
                                                      size_t columns) {
  const __m512 vfactor = _mm512_set1_ps(factor), base = _mm512_set1_ps(0.5f - shift),
               lowest = _mm512_set1_ps(kLowest);
  __m512 total = _mm512_setzero_ps(), most = lowest;
  for (size_t c = 0; c < columns; c += 2 * kLanes, p += kStepUnits) {
    if (keys.none_of(c, 2 * kLanes)) {
      _mm512_store_si512(p, _mm512_setzero_si512());
      continue;
    }
    __m512 left = _mm512_fmadd_ps(_mm512_load_ps(scores + c), vfactor, base);
    __m512 right = _mm512_fmadd_ps(_mm512_load_ps(scores + c + kLanes), vfactor, base);
    if (!keys.all_of(c, 2 * kLanes)) {
      left = _mm512_mask_mov_ps(lowest, keys.lanes(c), left);
      right = _mm512_mask_mov_ps(lowest, keys.lanes(c + kLanes), right);
    }
    most = _mm512_max_ps(most, _mm512_max_ps(left, right));
    left = exp2_less_half(left);
    right = exp2_less_half(right);
    total = _mm512_add_ps(total, _mm512_add_ps(left, right));
    store_along(p, left, right);
  }
  *sum = total;
  return most;
}

/// One row of scores: the shift, where it must move; p; the sum.
[[gnu::always_inline]] inline void softmax_row(uint32_t* p, const float* scores, const StripState& strip,
                                               size_t r, float factor, const VisibleKeys& keys,
                                               size_t columns, size_t HSp) {
  const auto move = [&] {
    move_shift(strip, r, factor * _mm512_reduce_max_ps(row_maxima(scores, keys, columns)), HSp);
  };
  if (strip.shift[r] == kLowest && keys.first < keys.last) move();
  __m512 sum;
  const __m512 most = exponentiate_row(p, &sum, scores, strip.shift[r], factor, keys, columns);
  if (_mm512_cmp_ps_mask(most, _mm512_set1_ps(kSlack), _CMP_GT_OQ) != 0) {
    move();
    exponentiate_row(p, &sum, scores, strip.shift[r], factor, keys, columns);
  }
  float* to = strip.sum + r * kLanes;
  _mm512_store_ps(to, _mm512_add_ps(_mm512_load_ps(to), sum));
}

/// The same for all rows of a strip, against the keys [j0, j0 + columns).
inline void softmax_strip(uint32_t* p, const float* scores, const StripState& strip, const AttentionShape& s,
                          float factor, size_t j0, size_t columns, size_t HSp) {
  if (j0 == strip.first_j) first_shifts(strip, scores, s, factor, j0, columns);
  for (size_t r = 0; r < strip.rows; ++r) {
    softmax_row(p + r * kLanes, scores + r * kTileBlock, strip, r, factor,
                visible_keys(strip, s, r, j0, columns), columns, HSp);
  }
}

/// factor * from, (HS) floats, as bf16.
inline void write_halves(bf16* to, const float* from, float factor, size_t HS) {
  const __m512 vfactor = _mm512_set1_ps(factor);
  for (size_t i = 0; i < HS; i += kLanes) {
    const auto half =
        reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_mul_ps(vfactor, _mm512_load_ps(from + i))));
    const auto mask = static_cast<__mmask16>(HS - i >= kLanes ? 0xffffu : (1u << (HS - i)) - 1u);
    _mm256_mask_storeu_epi16(to + i, mask, half);
  }
}

/// The rows that the head after h reads, of those that are this part's: keys and values from first_j on, and
/// its queries, as far as there are as many.
inline RowsAhead next_head(const bf16* q, const bf16* k, const bf16* v, const AttentionShape& s,
                           const ForwardPart& part, size_t h, size_t first_j, size_t end) {
  if (h + 1 >= part.heads + part.h) return {};
  const size_t kv = part.b * s.kv_batch_stride + (h + 1) / (s.NH / s.NKV) * s.HS + first_j * s.kv_stride;
  const bf16* queries = q + (part.b * s.Tq + part.t0) * s.q_stride + (h + 1) * s.HS;
  return {{queries, k + kv, v + kv}, {s.q_stride, s.kv_stride, s.kv_stride}, 3, 0, end - part.t0, s.HS};
}

/// The keys and values of a head that a part of the queries sees, [first_j, end_j), in blocks of 128: a block
/// of keys takes as many steps as one of values, 4 (fewer, the last) times HSp / 32.
struct PackedKeys {
  uint32_t *k, *v;
  size_t first_j, end_j, HSp;

  size_t at(size_t j0) const { return (j0 - first_j) / kTileStrip * (HSp / kStepDepth) * kStepUnits; }
  size_t keys(size_t j0) const { return end_j - j0 < kTileBlock ? end_j - j0 : kTileBlock; }

  void pack(const bf16* k_head, const bf16* v_head, const AttentionShape& s) const {
    const gemm_detail::TilePacking& packing = gemm_detail::avx512_tile_packing();
    for (size_t j0 = first_j; j0 < end_j; j0 += kTileBlock) {
      pack_lines(k + at(j0), packing.b_along, k_head + j0 * s.kv_stride, s.kv_stride, keys(j0), s.HS);
      pack_positions(v + at(j0), packing.b_across, v_head + j0 * s.kv_stride, s.kv_stride, keys(j0), s.HS);
    }
  }
};

/// One strip of queries against all keys that it sees. Room for its scores (32, 128) and probabilities.
template <class Tiles>
void forward_strip(const StripState& strip, const PackedKeys& packed, const AttentionShape& s, float factor,
                   float* scores, uint32_t* p) {
  const size_t HSp = packed.HSp, steps = HSp / kStepDepth;
  for (size_t j0 = strip.first_j; j0 < strip.end_j; j0 += kTileBlock) {
    const size_t seen = strip.end_j - j0 < kTileBlock ? strip.end_j - j0 : kTileBlock;
    const size_t panels = (seen + kTileStrip - 1) / kTileStrip, at = packed.at(j0);
    for (size_t n = 0; n < panels; ++n)
      multiply_strip<Tiles, false, true>(scores + n * kTileStrip, kTileBlock, strip.q,
                                         packed.k + at + n * steps * kStepUnits, steps);
    softmax_strip(p, scores, strip, s, factor, j0, panels * kTileStrip, HSp);
    const size_t v_steps = (packed.keys(j0) + kStepDepth - 1) / kStepDepth;
    for (size_t n = 0; n < steps; ++n)
      multiply_strip<Tiles, true, true>(strip.sum_v + n * kTileStrip, HSp, p,
                                        packed.v + at + n * v_steps * kStepUnits, panels);
  }
}

inline void write_strip(bf16* out, float* lse, const StripState& strip, const AttentionShape& s, size_t b,
                        size_t h, size_t HSp) {
  alignas(64) float sums[kTileStrip], factors[kTileStrip];
  for (size_t r = 0; r < kTileStrip; r += kLanes) {
    __m512 rows[kLanes];
    for (size_t i = 0; i < kLanes; ++i) rows[i] = _mm512_load_ps(strip.sum + (r + i) * kLanes);
    const __m512 sum = reduce_rows<Sum>(rows);
    _mm512_store_ps(sums + r, sum);
    _mm512_store_ps(factors + r, _mm512_div_ps(_mm512_set1_ps(1.0f), sum));
  }
  float* const to = lse + (b * s.NH + h) * s.Tq + strip.t0;
  for (size_t r = 0; r < strip.rows; ++r) {
    to[r] = strip.shift[r] * kLn2 + __builtin_logf(sums[r]);
    write_halves(out + (b * s.Tq + strip.t0 + r) * s.NH * s.HS + h * s.HS, strip.sum_v + r * HSp, factors[r],
                 s.HS);
  }
}

template <class Tiles>
void forward_on_tiles(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                      const AttentionShape& s, const ForwardPart& part, float* scratch) {
  const gemm_detail::ConfiguredTiles configured(Tiles::configure, Tiles::release);
  const size_t HS = s.HS, HSp = round_up(HS, kTileStrip), steps = HSp / kStepDepth;
  const size_t limit = part.t0 + part.blocks * kAttentionBlock, end = limit < s.Tq ? limit : s.Tq;
  const float factor = static_cast<float>(s.score_scale()) * kLog2e;
  const int32_t* first_key = s.first_key == nullptr ? nullptr : s.first_key + part.b * s.Tq + part.t0;
  const size_t first_j = first_key_of(first_key, end - part.t0) / kTileBlock * kTileBlock;
  const size_t end_j = s.q_start + end, blocks = (end_j - first_j + kTileBlock - 1) / kTileBlock;

  constexpr size_t kPanels = kTileBlock / kTileStrip;
  TileScratch memory{{scratch}};
  const PackedKeys packed{memory.take_steps(blocks * kPanels * steps),
                          memory.take_steps(blocks * kPanels * steps), first_j, end_j, HSp};
  float* scores = memory.take(kTileStrip * kTileBlock);
  uint32_t* p = memory.take_steps(kPanels);
  StripState strip{};
  strip.q = memory.take_steps(steps);
  strip.sum_v = memory.take(kTileStrip * HSp);
  strip.sum = memory.take(kTileStrip * kLanes);
  strip.shift = memory.take(kTileStrip);

  const size_t group = s.NH / s.NKV, strips = (end - part.t0 + kTileStrip - 1) / kTileStrip;
  const size_t ahead = (end - part.t0 + strips - 1) / strips;
  for (size_t h = part.h; h < part.h + part.heads; ++h) {
    const size_t kv = part.b * s.kv_batch_stride + h / group * HS;
    if (h == part.h || h % group == 0) packed.pack(k + kv, v + kv, s);
    RowsAhead next = next_head(q, k, v, s, part, h, first_j, end);
    for (size_t t0 = part.t0; t0 < end; t0 += kTileStrip) {
      next.ask(ahead);
      load_strip(strip, q, s, part.b, h, t0, end - t0 < kTileStrip ? end - t0 : kTileStrip, HSp);
      forward_strip<Tiles>(strip, packed, s, factor, scores, p);
      write_strip(out, lse, strip, s, part.b, h, HSp);
    }
  }
}

}  // namespace
}  // namespace fathom
