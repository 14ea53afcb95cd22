// Attention, backward: one key/value head, with query heads that read it. Scores are made again block by
// block from q, k and lse (Dao et al. 2022, arXiv:2205.14135, algorithm 4). Compiled once per target; see
// simd_dispatch.h.

#include "kernels/attention_forward-inl.h"

#if defined(FATHOM_KERNELS_ATTENTION_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_ATTENTION_BACKWARD_INL_H_
#undef FATHOM_KERNELS_ATTENTION_BACKWARD_INL_H_
#else
#define FATHOM_KERNELS_ATTENTION_BACKWARD_INL_H_
#endif

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
#ifdef FATHOM_DPBF16
#pragma GCC target("avx512bf16")
#endif
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

/// The keys and values of one head in the layouts that products want, and the gradients' sums. Block j of
/// keys starts at j * 64 * HSp in each.
struct KeyValueHead {
  float* k_columns;  ///< k transposed: scores.
  float* v_columns;  ///< v transposed: gradient of the probabilities.
  float* k_across;   ///< dq.
  float* dk;
  float* dv;
};

/// The block of queries at work.
struct QueryBlock {
  float *q_along, *q_across;  ///< scores; dk.
  float *dout_along, *dout_across;
  float* dq;
  float* lse2;   ///< lse in units of log 2; where a row is padding, so high that its probabilities are 0.
  float* delta;  ///< sum_i dout_i out_i = sum_j p_j dp_j.
  float *scores, *dp, *p_across, *ds_along, *ds_across;  ///< 64 x 64 each.
};

/// p = 2^(factor scores - lse2) and ds = p (dp - delta), both 0 where not visible, for all rows of a block. A
/// cap's slope 1 - tanh^2 goes into ds.
template <class Panel>
void probabilities_and_gradients(const QueryBlock& block, const ScoreScale& scale, size_t rows,
                                 const Visibility& see) {
  const F32 d;
  const V32 vfactor = hn::Set(d, scale.factor), to_cap = hn::Set(d, scale.to_cap);
  constexpr size_t kPer = Panel::kPer;
  for (size_t r = 0; r < rows; r += kPer) {
    const size_t columns = see.columns<Panel>(r / kTileRows * kTileRows);
    for (size_t c = 0; c < columns; c += kPer * kLanes) {
      V32 p[kPer][kPer], ds[kPer][kPer];  // [column vector][row]
      for (size_t x = 0; x < kPer; ++x) {
        const size_t row = r + x, first = see.first(row), last = see.last(row);
        V32 ds_row[kPer];
        for (size_t y = 0; y < kPer; ++y) {
          const size_t column = c + y * kLanes, at = row * kAttentionBlock + column;
          const V32 score = load(block.scores + at);
          V32 e = exp2_nonpositive(hn::MulSub(vfactor, score, hn::Set(d, block.lse2[row])));
          V32 slope = hn::Mul(e, hn::Sub(load(block.dp + at), hn::Set(d, block.delta[row])));
          if (scale.to_cap != 0) {
            const V32 t = hn::Mul(to_cap, score);
            slope = hn::NegMulAdd(slope, hn::Mul(t, t), slope);
          }
          if (column < first || column + kLanes > last) {
            const auto see_lane = visible_lanes(column, first, last);
            e = hn::IfThenElseZero(see_lane, e);
            slope = hn::IfThenElseZero(see_lane, slope);
          }
          p[y][x] = e;
          ds[y][x] = ds_row[y] = slope;
        }
        Panel::store_along(ds_row, block.ds_along + row * (kAttentionBlock / kPer), c);
      }
      for (size_t y = 0; y < kPer; ++y) {
        const size_t at = r / kPer * kAttentionBlock + c + y * kLanes;
        Panel::store_across(p[y], block.p_across + at);
        Panel::store_across(ds[y], block.ds_across + at);
      }
    }
  }
}

/// c (keys, HSp) += p^T b: row k of p_across (queries / kPer, 64) holds the block's keys; b (queries, HSp).
template <class Panel>
void multiply_by_queries(float* c, const float* p_across, const float* b, size_t rows, size_t HSp,
                         const Visibility& see) {
  for (ptrdiff_t j = 0; j < see.keys; j += kTileRows) {
    const ptrdiff_t first_row = j - see.diagonal;  // the first query that sees key j
    const size_t k_begin = first_row < 0 ? 0 : static_cast<size_t>(first_row) / Panel::kPer;
    multiply_rows<Panel, true>(c + static_cast<size_t>(j) * HSp, HSp,
                               {p_across + j, 1, kAttentionBlock, b, HSp}, HSp, k_begin, rows / Panel::kPer);
  }
}

/// The five products of one block of queries with one block of keys.
template <class Panel>
void backward_block(const QueryBlock& block, const KeyValueHead& head, size_t j0, const ScoreScale& scale,
                    size_t rows, size_t HS, size_t HSp, const Visibility& see) {
  const size_t at = j0 * HSp, elements = HS / Panel::kPer, along_row = HSp / Panel::kPer;
  multiply_scores<Panel>(block.scores, block.q_along, along_row, head.k_columns + at, elements, rows, see);
  if (scale.to_cap != 0) cap_scores(block.scores, rows * kAttentionBlock, scale);
  multiply_scores<Panel>(block.dp, block.dout_along, along_row, head.v_columns + at, elements, rows, see);
  probabilities_and_gradients<Panel>(block, scale, rows, see);
  multiply_by_queries<Panel>(head.dv + at, block.p_across, block.dout_across, rows, HSp, see);
  multiply_by_queries<Panel>(head.dk + at, block.ds_across, block.q_across, rows, HSp, see);
  multiply_by_keys<Panel>(block.dq, block.ds_along, head.k_across + at, rows, HSp, see);
}

/// Packs the keys and values of head g of sequence b. `rows` is room for one block.
template <class Panel, class W>
void pack_head(const KeyValueHead& head, float* rows, const W* k, const W* v, const AttentionShape& s,
               size_t HSp) {
  for (size_t j0 = 0; j0 < s.Tk; j0 += kAttentionBlock) {
    const size_t keys = s.Tk - j0 < kAttentionBlock ? s.Tk - j0 : kAttentionBlock;
    const size_t padded = round_up(keys, kKeyPad), at = j0 * HSp, elements = s.HS / Panel::kPer;
    const W* k_block = k + j0 * s.kv_stride;
    const W* v_block = v + j0 * s.kv_stride;
    Panel::pack_along(rows, k_block, s.kv_stride, keys, padded, s.HS, HSp);
    transpose(head.k_columns + at, kAttentionBlock, rows, HSp / Panel::kPer, padded, elements);
    Panel::pack_along(rows, v_block, s.kv_stride, keys, padded, s.HS, HSp);
    transpose(head.v_columns + at, kAttentionBlock, rows, HSp / Panel::kPer, padded, elements);
    Panel::pack_across(head.k_across + at, k_block, s.kv_stride, keys, padded, s.HS, HSp);
  }
}

/// Packs queries [t0, t0 + rows) of head h and clears their gradient.
template <class Panel, class W>
void load_queries(const QueryBlock& block, const W* q, const W* dout, const W* out, const float* lse,
                  const AttentionShape& s, size_t rows, size_t padded, size_t HSp) {
  const size_t out_stride = s.NH * s.HS;
  Panel::pack_along(block.q_along, q, s.q_stride, rows, padded, s.HS, HSp);
  Panel::pack_along(block.dout_along, dout, out_stride, rows, padded, s.HS, HSp);
  if constexpr (Panel::kPer > 1) {
    Panel::pack_across(block.q_across, q, s.q_stride, rows, padded, s.HS, HSp);
    Panel::pack_across(block.dout_across, dout, out_stride, rows, padded, s.HS, HSp);
  }
  std::memset(block.dq, 0, padded * HSp * sizeof(float));
  for (size_t r = 0; r < padded; ++r) {
    block.lse2[r] = r < rows ? lse[r] * kLog2e : -kLowest;
    block.delta[r] = 0.0f;
  }
  for (size_t r = 0; r < rows; ++r) {
    V32 sum = hn::Zero(F32());
    for (size_t i = 0; i < s.HS; i += kLanes) {
      const size_t at = r * out_stride + i;
      sum = hn::MulAdd(load_n(dout + at, s.HS - i), load_n(out + at, s.HS - i), sum);
    }
    block.delta[r] = sum_lanes(sum);
  }
}

/// dk and dv (T, HS) of a key/value head = the sum of what `parts` pieces of its query heads gave, one after
/// the other at `sums`.
template <class W>
void write_key_gradients(W* dk, W* dv, const float* sums, size_t parts, const AttentionShape& s) {
  const size_t HS = s.HS, HSp = round_up(HS, kHeadPad), size = backward_sums_size(s.Tq, HS);
  const ScoreScale scale(s);
  const auto write = [&](W* to, const float* from, float factor) {
    for (size_t i = 0; i < HS; i += kLanes) {
      V32 sum = load(from + i);
      for (size_t n = 1; n < parts; ++n) sum = hn::Add(sum, load(from + n * size + i));
      store_n(hn::Mul(hn::Set(F32(), factor), sum), to + i, HS - i);
    }
  };
  for (size_t j = 0; j < s.Tq; ++j) {
    write(dk + j * s.kv_stride, sums + j * HSp, scale.scale);
    write(dv + j * s.kv_stride, sums + size / 2 + j * HSp, 1.0f);
  }
}

/// attention_backward for some query heads of a key/value head; scratch of backward_scratch_size(T, HS).
template <class Panel, class W>
void backward_heads(W* dq, W* dk, W* dv, const W* dout, const W* out, const float* lse, const W* q,
                    const W* k, const W* v, const AttentionShape& s, const BackwardPart& part,
                    float* scratch) {
  const size_t HS = s.HS, HSp = round_up(HS, kHeadPad), T = s.Tq, b = part.b, g = part.h / (s.NH / s.NKV);
  const size_t whole = round_up(T, kAttentionBlock) * HSp, panel = kAttentionBlock * HSp;
  constexpr size_t kScores = kAttentionBlock * kAttentionBlock;
  Scratch memory{scratch};
  float* const sums = part.sums != nullptr ? part.sums : memory.take(2 * whole);
  float* const of_head = part.heads > 1 ? memory.take(2 * whole) : nullptr;  // but the first
  KeyValueHead head{memory.take(whole), memory.take(whole), memory.take(whole), sums, sums + whole};
  QueryBlock block{};
  block.q_along = memory.take(panel);
  block.dout_along = memory.take(panel);
  block.q_across = Panel::kPer > 1 ? memory.take(panel) : block.q_along;
  block.dout_across = Panel::kPer > 1 ? memory.take(panel) : block.dout_along;
  block.dq = memory.take(panel);
  block.lse2 = memory.take(kAttentionBlock);
  block.delta = memory.take(kAttentionBlock);
  block.scores = memory.take(kScores);
  block.dp = memory.take(kScores);
  block.p_across = memory.take(kScores);
  block.ds_along = memory.take(kScores);
  block.ds_across = Panel::kPer > 1 ? memory.take(kScores) : block.ds_along;

  const size_t kv = b * s.kv_batch_stride + g * HS;
  pack_head<Panel>(head, memory.take(panel), k + kv, v + kv, s, HSp);
  const ScoreScale scale(s);
  for (size_t h = part.h; h < part.h + part.heads; ++h) {
    if (h > part.h) {
      head.dk = of_head;
      head.dv = of_head + whole;
    }
    std::memset(head.dk, 0, 2 * whole * sizeof(float));
    for (size_t t0 = 0; t0 < T; t0 += kAttentionBlock) {
      const size_t rows = T - t0 < kAttentionBlock ? T - t0 : kAttentionBlock;
      const size_t padded = round_up(rows, kQueryPad);
      const size_t q_at = (b * T + t0) * s.q_stride + h * HS, o_at = (b * T + t0) * s.NH * HS + h * HS;
      const int32_t* first_key = s.first_key == nullptr ? nullptr : s.first_key + b * T + t0;
      load_queries<Panel>(block, q + q_at, dout + o_at, out + o_at, lse + (b * s.NH + h) * T + t0, s, rows,
                          padded, HSp);
      const size_t first_j = first_key_of(first_key, rows) / kAttentionBlock * kAttentionBlock;
      for (size_t j0 = first_j; j0 < t0 + rows; j0 += kAttentionBlock) {
        const size_t keys = t0 + rows - j0 < kAttentionBlock ? t0 + rows - j0 : kAttentionBlock;
        const Visibility see{static_cast<ptrdiff_t>(t0) - static_cast<ptrdiff_t>(j0),
                             static_cast<ptrdiff_t>(keys), first_key, static_cast<ptrdiff_t>(j0), rows};
        backward_block<Panel>(block, head, j0, scale, padded, HS, HSp, see);
      }
      for (size_t r = 0; r < rows; ++r)
        write_row(dq + q_at + r * s.q_stride, block.dq + r * HSp, scale.scale, HS);
    }
    // Each head's sum by itself, and these in the order of the heads: the bits of heads in pieces of their
    // own.
    for (size_t i = 0; h > part.h && i < 2 * whole; i += kLanes)
      store(hn::Add(load(sums + i), load(of_head + i)), sums + i);
  }
  if (part.sums == nullptr) write_key_gradients(dk + kv, dv + kv, sums, 1, s);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS
#endif  // per-target include guard
