// Attention, forward: blocks of queries against blocks of keys, with the running maximum and sum of
// Milakov & Gimelshein 2018 (arXiv:1805.02867). Compiled once per target; see simd_dispatch.h.

#include "kernels/attention.h"
#include "kernels/attention_panels-inl.h"
#include "kernels/attention_plan.h"

#if defined(FATHOM_KERNELS_ATTENTION_FORWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_ATTENTION_FORWARD_INL_H_
#undef FATHOM_KERNELS_ATTENTION_FORWARD_INL_H_
#else
#define FATHOM_KERNELS_ATTENTION_FORWARD_INL_H_
#endif

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
#ifdef FATHOM_DPBF16
#pragma GCC target("avx512bf16")
#endif
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

/// Which keys of a block the queries of a block see: row r sees columns [first(r), last(r)).
struct Visibility {
  ptrdiff_t diagonal;        ///< Column of the key at row 0's own position; negative if before the block.
  ptrdiff_t keys;            ///< Keys in the block.
  const int32_t* first_key;  ///< Of row 0, or null.
  ptrdiff_t first_column;    ///< Key index of column 0.
  size_t rows;               ///< Rows that are queries; those behind are padding.

  HWY_INLINE size_t first(size_t r) const {
    if (first_key == nullptr || r >= rows) return 0;
    const ptrdiff_t column = first_key[r] - first_column;
    return column < 0 ? 0 : static_cast<size_t>(column < keys ? column : keys);
  }
  HWY_INLINE size_t last(size_t r) const {
    const ptrdiff_t end = diagonal + static_cast<ptrdiff_t>(r) + 1;
    return end < 0 ? 0 : static_cast<size_t>(end < keys ? end : keys);
  }
  /// Columns that rows [r, r + kTileRows) need at most, in whole vectors (pairs of them for bf16 pairs).
  template <class Panel>
  HWY_INLINE size_t columns(size_t r) const {
    return round_up(last(r + kTileRows - 1), kLanes * Panel::kPer);
  }
};

/// Mask of lanes i with first <= column + i < last.
HWY_INLINE hn::Mask<F32> visible_lanes(size_t column, size_t first, size_t last) {
  const I32 i;
  const auto index = hn::Iota(i, static_cast<int32_t>(column));
  const auto from = hn::Gt(index, hn::Set(i, static_cast<int32_t>(first) - 1));
  return hn::RebindMask(F32(), hn::And(from, hn::Lt(index, hn::Set(i, static_cast<int32_t>(last)))));
}

/// scores (64 x 64) = a b for the columns that each tile of rows needs; b (K, 64).
template <class Panel>
void multiply_scores(float* scores, const float* a, size_t a_row, const float* b, size_t K, size_t rows,
                     const Visibility& see) {
  for (size_t r = 0; r < rows; r += kTileRows) {
    multiply_rows<Panel, false>(scores + r * kAttentionBlock, kAttentionBlock,
                                {a + r * a_row, a_row, 1, b, kAttentionBlock}, see.columns<Panel>(r), 0, K);
  }
}

/// c (rows, HSp) += p b: p's rows hold the keys of a block in elements; b (keys, HSp).
template <class Panel>
void multiply_by_keys(float* c, const float* p, const float* b, size_t rows, size_t HSp,
                      const Visibility& see) {
  constexpr size_t kRow = kAttentionBlock / Panel::kPer;
  for (size_t r = 0; r < rows; r += kTileRows) {
    const size_t k_end = (see.last(r + kTileRows - 1) + Panel::kPer - 1) / Panel::kPer;
    multiply_rows<Panel, true>(c + r * HSp, HSp, {p + r * kRow, kRow, 1, b, HSp}, HSp, 0, k_end);
  }
}

/// How raw products become exponents of 2: factor * score, where the scores of a block have been capped first
/// if there is a cap. Capped scores are kept in units of raw products, so that `factor` serves both.
struct ScoreScale {
  float scale, factor;
  float to_cap;    ///< scale / softcap: raw product -> argument of tanh; 0: no cap.
  float from_cap;  ///< softcap / scale

  explicit ScoreScale(const AttentionShape& s)
      : scale(static_cast<float>(s.score_scale())),
        factor(scale * kLog2e),
        to_cap(s.softcap == 0 ? 0.0f : static_cast<float>(s.score_scale() / s.softcap)),
        from_cap(s.softcap == 0 ? 0.0f : static_cast<float>(s.softcap / s.score_scale())) {}
};

/// n scores, n a multiple of kLanes: from_cap tanh(to_cap score).
inline void cap_scores(float* scores, size_t n, const ScoreScale& scale) {
  const F32 d;
  for (size_t i = 0; i < n; i += kLanes) {
    const V32 t = tanh(hn::Mul(hn::Set(d, scale.to_cap), load(scores + i)));
    store(hn::Mul(hn::Set(d, scale.from_cap), t), scores + i);
  }
}

/// The largest visible score of one row, lane by lane.
HWY_INLINE V32 row_maxima(const float* row, size_t first, size_t last) {
  const F32 d;
  V32 most = hn::Set(d, kLowest);
  for (size_t c = first / kLanes * kLanes; c < last; c += kLanes) {
    V32 score = load(row + c);
    if (c < first || c + kLanes > last)
      score = hn::IfThenElse(visible_lanes(c, first, last), score, hn::Set(d, kLowest));
    most = hn::Max(most, score);
  }
  return most;
}

/// highest[r] <- max(highest[r], factor * the row's visible scores).
inline void update_maxima(float* highest, const float* scores, float factor, size_t rows,
                          const Visibility& see) {
  const Quad d;
  for (size_t r = 0; r < rows; r += 4) {  // rows are padded to whole tiles
    V32 most[4];
    for (size_t x = 0; x < 4; ++x)
      most[x] = row_maxima(scores + (r + x) * kAttentionBlock, see.first(r + x), see.last(r + x));
    const auto now = hn::Mul(hn::Set(d, factor), reduce_rows<Maximum>(most[0], most[1], most[2], most[3]));
    hn::StoreU(hn::Max(hn::LoadU(d, highest + r), now), d, highest + r);
  }
}

/// p = 2^(factor * scores - highest) for one row, 0 where not visible, in [0, columns); returns the sum, lane
/// by lane.
template <class Panel>
HWY_INLINE V32 exponentiate_row(float* p, const float* scores, float highest, float factor, size_t first,
                                size_t last, size_t columns) {
  const F32 d;
  const V32 vfactor = hn::Set(d, factor), shift = hn::Set(d, highest);
  V32 total = hn::Zero(d);
  for (size_t c = 0; c < columns; c += kLanes * Panel::kPer) {
    V32 e[Panel::kPer];
    for (size_t y = 0; y < Panel::kPer; ++y) {
      const size_t column = c + y * kLanes;
      e[y] = exp2_nonpositive(hn::MulSub(vfactor, load(scores + column), shift));
      if (column < first || column + kLanes > last)
        e[y] = hn::IfThenElseZero(visible_lanes(column, first, last), e[y]);
      total = hn::Add(total, e[y]);
    }
    Panel::store_along(e, p, c);
  }
  return total;
}

/// The same for all rows of a block; sum[r] += the row's sum.
template <class Panel>
void exponentiate(float* p, float* sum, const float* scores, const float* highest, float factor, size_t rows,
                  const Visibility& see) {
  const Quad d;
  for (size_t r = 0; r < rows; r += 4) {
    const size_t columns = see.columns<Panel>(r / kTileRows * kTileRows);
    V32 total[4];
    for (size_t x = 0; x < 4; ++x) {
      const size_t row = r + x;
      total[x] =
          exponentiate_row<Panel>(p + row * (kAttentionBlock / Panel::kPer), scores + row * kAttentionBlock,
                                  highest[row], factor, see.first(row), see.last(row), columns);
    }
    const auto block_sum = reduce_rows<Sum>(total[0], total[1], total[2], total[3]);
    hn::StoreU(hn::Add(hn::LoadU(d, sum + r), block_sum), d, sum + r);
  }
}

/// The running sums and outputs, which were relative to the maxima `before`, made relative to `highest`.
inline void rescale(float* out, float* sum, const float* before, const float* highest, size_t rows,
                    size_t HSp) {
  const F32 d;
  HWY_ALIGN float factor[kAttentionBlock];
  for (size_t r = 0; r < kAttentionBlock; r += kLanes)
    store(exp2_nonpositive(hn::Sub(load(before + r), load(highest + r))), factor + r);
  for (size_t r = 0; r < rows; ++r) {
    if (factor[r] == 1.0f || sum[r] == 0.0f) continue;
    sum[r] *= factor[r];
    const V32 vfactor = hn::Set(d, factor[r]);
    for (size_t i = 0; i < HSp; i += kLanes)
      store(hn::Mul(vfactor, load(out + r * HSp + i)), out + r * HSp + i);
  }
}

/// to (HS numbers of type W) = factor * from.
template <class W>
HWY_INLINE void write_row(W* to, const float* from, float factor, size_t HS) {
  const V32 vfactor = hn::Set(F32(), factor);
  for (size_t i = 0; i < HS; i += kLanes) store_n(hn::Mul(vfactor, load(from + i)), to + i, HS - i);
}

/// The running state of one block of queries.
struct ForwardQueries {
  float* q;        ///< (64, HSp) packed.
  float* sum_v;    ///< (64, HSp) sum of p v, relative to `highest`.
  float* highest;  ///< (64) largest score so far, in units of log 2.
  float* sum;      ///< (64) sum of p.
  const int32_t* first_key;
  size_t t0, rows, padded;
  size_t first_j, end_j;  ///< The keys that any of the rows sees; first_j is the first of a block.
};

/// One block of keys and values, packed, and room for the scores.
struct ForwardKeys {
  float *rows, *k_columns, *v_panel, *scores, *p, *before;
};

/// Packs queries [t0, t0 + 64) and sets their state to that before any key.
template <class Panel, class W>
ForwardQueries load_forward_queries(Scratch& memory, const W* q, const AttentionShape& s, size_t b, size_t h,
                                    size_t t0, size_t HSp) {
  ForwardQueries block{};
  block.t0 = t0;
  block.rows = s.Tq - t0 < kAttentionBlock ? s.Tq - t0 : kAttentionBlock;
  block.padded = round_up(block.rows, kQueryPad);
  block.q = memory.take(kAttentionBlock * HSp);
  block.sum_v = memory.take(kAttentionBlock * HSp);
  block.highest = memory.take(kAttentionBlock);
  block.sum = memory.take(kAttentionBlock);
  block.first_key = s.first_key == nullptr ? nullptr : s.first_key + b * s.Tq + t0;
  block.first_j = first_key_of(block.first_key, block.rows) / kAttentionBlock * kAttentionBlock;
  block.end_j = s.q_start + t0 + block.rows;
  Panel::pack_along(block.q, q + (b * s.Tq + t0) * s.q_stride + h * s.HS, s.q_stride, block.rows,
                    block.padded, s.HS, HSp);
  std::memset(block.sum_v, 0, block.padded * HSp * sizeof(float));
  for (size_t r = 0; r < kAttentionBlock; ++r) {
    block.highest[r] = kLowest;
    block.sum[r] = 0.0f;
  }
  return block;
}

/// One block of queries against the block of keys at j0, of which it sees some.
template <class Panel>
void forward_keys(const ForwardQueries& block, const ForwardKeys& keys, const AttentionShape& s, size_t j0,
                  const ScoreScale& scale, size_t HSp) {
  const size_t count = block.end_j - j0 < kAttentionBlock ? block.end_j - j0 : kAttentionBlock;
  const Visibility see{static_cast<ptrdiff_t>(s.q_start + block.t0) - static_cast<ptrdiff_t>(j0),
                       static_cast<ptrdiff_t>(count), block.first_key, static_cast<ptrdiff_t>(j0),
                       block.rows};
  multiply_scores<Panel>(keys.scores, block.q, HSp / Panel::kPer, keys.k_columns, s.HS / Panel::kPer,
                         block.padded, see);
  if (scale.to_cap != 0) cap_scores(keys.scores, block.padded * kAttentionBlock, scale);
  std::memcpy(keys.before, block.highest, kAttentionBlock * sizeof(float));
  update_maxima(block.highest, keys.scores, scale.factor, block.padded, see);
  rescale(block.sum_v, block.sum, keys.before, block.highest, block.rows, HSp);
  exponentiate<Panel>(keys.p, block.sum, keys.scores, block.highest, scale.factor, block.padded, see);
  multiply_by_keys<Panel>(block.sum_v, keys.p, keys.v_panel, block.padded, HSp, see);
}

/// attention_forward for one part of the queries, whose blocks share the packing of the keys. scratch of
/// forward_scratch_size(HS). What a block of queries computes does not depend on the blocks that it is with.
template <class Panel, class W>
void forward_blocks(W* out, float* lse, const W* q, const W* k, const W* v, const AttentionShape& s,
                    const ForwardPart& part, float* scratch) {
  const size_t b = part.b, h = part.h, blocks = part.blocks;
  const size_t HS = s.HS, HSp = round_up(HS, kHeadPad), panel = kAttentionBlock * HSp;
  constexpr size_t kScores = kAttentionBlock * kAttentionBlock;
  Scratch memory{scratch};
  const ForwardKeys keys{memory.take(panel),   memory.take(panel),   memory.take(panel),
                         memory.take(kScores), memory.take(kScores), memory.take(kAttentionBlock)};
  ForwardQueries queries[kForwardBlocks];
  size_t first_j = s.Tk, end_j = 0;
  for (size_t i = 0; i < blocks; ++i) {
    queries[i] = load_forward_queries<Panel>(memory, q, s, b, h, part.t0 + i * kAttentionBlock, HSp);
    first_j = queries[i].first_j < first_j ? queries[i].first_j : first_j;
    end_j = queries[i].end_j;
  }
  const ScoreScale scale(s);
  const size_t kv = b * s.kv_batch_stride + h / (s.NH / s.NKV) * HS;
  for (size_t j0 = first_j; j0 < end_j; j0 += kAttentionBlock) {
    const size_t count = end_j - j0 < kAttentionBlock ? end_j - j0 : kAttentionBlock;
    const size_t padded = round_up(count, kKeyPad), at = kv + j0 * s.kv_stride;
    Panel::pack_along(keys.rows, k + at, s.kv_stride, count, padded, HS, HSp);
    transpose(keys.k_columns, kAttentionBlock, keys.rows, HSp / Panel::kPer, padded, HS / Panel::kPer);
    Panel::pack_across(keys.v_panel, v + at, s.kv_stride, count, padded, HS, HSp);
    for (size_t i = 0; i < blocks; ++i) {
      if (queries[i].first_j <= j0 && j0 < queries[i].end_j)
        forward_keys<Panel>(queries[i], keys, s, j0, scale, HSp);
    }
  }
  for (size_t i = 0; i < blocks; ++i) {
    const ForwardQueries& block = queries[i];
    for (size_t r = 0; r < block.rows; ++r) {
      const size_t t = block.t0 + r;
      lse[(b * s.NH + h) * s.Tq + t] = block.highest[r] * kLn2 + __builtin_logf(block.sum[r]);
      write_row(out + (b * s.Tq + t) * s.NH * HS + h * HS, block.sum_v + r * HSp, 1.0f / block.sum[r], HS);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS
#endif  // per-target include guard
