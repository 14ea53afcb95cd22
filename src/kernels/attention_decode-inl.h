// Attention of few queries over many keys, as in decoding: keys and values are read where they are, once for
// all query heads that share them; packing them would cost more than it saves. The keys are cut into pieces
// that threads take side by side, whose sums are put together at the end (Dao et al. 2023, Flash-Decoding,
// pytorch.org/blog/flash-decoding). Compiled once per target; see simd_dispatch.h.

#include "kernels/attention_forward-inl.h"

#if defined(FATHOM_KERNELS_ATTENTION_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_KERNELS_ATTENTION_DECODE_INL_H_
#undef FATHOM_KERNELS_ATTENTION_DECODE_INL_H_
#else
#define FATHOM_KERNELS_ATTENTION_DECODE_INL_H_
#endif

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

/// Keys, and vectors of a value, that are worked on side by side: their sums are chains of their own, which
/// hide the latency of a multiply-add.
constexpr size_t kSideBySide = 4;
/// Query heads at once: N x kSideBySide sums stay in registers, of which AVX-512 has 32 and AVX2 16.
constexpr size_t kHeadsAtOnce = kLanes >= 16 ? 4 : 2;

/// So many keys, or values, of all heads are taken before the next, which are asked for meanwhile: some 8
/// KiB, a share of L1.
HWY_INLINE size_t few_keys(size_t row_bytes) {
  const size_t keys = 8192 / row_bytes / kSideBySide * kSideBySide;
  return keys < kSideBySide ? kSideBySide : keys;
}

/// Columns [0, keys) of p (N, kDecodeKeys) = the raw scores of `keys` keys for N query heads, q (N, HSp);
/// those behind, to the next multiple of kSideBySide, repeat the last.
template <size_t N, class W>
void decode_scores(float* p, const float* q, const W* k, size_t stride, size_t keys, size_t HS) {
  const size_t HSp = round_up(HS, kHeadPad);
  for (size_t j = 0; j < keys; j += kSideBySide) {
    const W* key[kSideBySide];
    for (size_t x = 0; x < kSideBySide; ++x) key[x] = k + (j + x < keys ? j + x : keys - 1) * stride;
    V32 sum[N][kSideBySide];
    for (size_t n = 0; n < N; ++n) {
      for (size_t x = 0; x < kSideBySide; ++x) sum[n][x] = hn::Zero(F32());
    }
    for (size_t i = 0; i < HS; i += kLanes) {
      V32 part[kSideBySide];
      for (size_t x = 0; x < kSideBySide; ++x) part[x] = load_n(key[x] + i, HS - i);
      for (size_t n = 0; n < N; ++n) {
        const V32 of_q = load(q + n * HSp + i);
        for (size_t x = 0; x < kSideBySide; ++x) sum[n][x] = hn::MulAdd(of_q, part[x], sum[n][x]);
      }
    }
    for (size_t n = 0; n < N; ++n) {
      hn::StoreU(reduce_rows<Sum>(sum[n][0], sum[n][1], sum[n][2], sum[n][3]), Quad(),
                 p + n * kDecodeKeys + j);
    }
  }
}

/// p = 2^(factor p - highest) over `keys` keys, 0 behind; `highest` and `sum` of these.
inline void decode_exponentials(float* p, size_t keys, const ScoreScale& scale, float* highest, float* sum) {
  const F32 d;
  if (scale.to_cap != 0) cap_scores(p, round_up(keys, kLanes), scale);
  const float most = max_lanes(row_maxima(p, 0, keys)) * scale.factor;
  const V32 vfactor = hn::Set(d, scale.factor), shift = hn::Set(d, most);
  V32 total = hn::Zero(d);
  for (size_t j = 0; j < keys; j += kLanes) {
    const V32 e = exp2_nonpositive(hn::MulSub(vfactor, load(p + j), shift));
    const V32 kept = hn::IfThenElseZero(visible_lanes(j, 0, keys), e);
    total = hn::Add(total, kept);
    store(kept, p + j);
  }
  *highest = most;
  *sum = sum_lanes(total);
}

/// C vectors of each row of out (N, ld) += p v; the last of them in part where fewer numbers are `left`.
template <size_t N, size_t C, class W>
HWY_INLINE void decode_vectors(float* out, size_t ld, const float* p, const W* v, size_t stride, size_t keys,
                               size_t left) {
  V32 sum[N][C];
  for (size_t n = 0; n < N; ++n) {
    for (size_t c = 0; c < C; ++c) sum[n][c] = load(out + n * ld + c * kLanes);
  }
  for (size_t j = 0; j < keys; ++j, v += stride) {
    V32 value[C];
    for (size_t c = 0; c < C; ++c) value[c] = load_n(v + c * kLanes, left - c * kLanes);
    for (size_t n = 0; n < N; ++n) {
      const V32 weight = hn::Set(F32(), p[n * kDecodeKeys + j]);
      for (size_t c = 0; c < C; ++c) sum[n][c] = hn::MulAdd(weight, value[c], sum[n][c]);
    }
  }
  for (size_t n = 0; n < N; ++n) {
    for (size_t c = 0; c < C; ++c) store(sum[n][c], out + n * ld + c * kLanes);
  }
}

/// out (N, decode_partial_size) += p v of `keys` values.
template <size_t N, class W>
void decode_values(float* out, const float* p, const W* v, size_t stride, size_t keys, size_t HS) {
  const size_t ld = decode_partial_size(HS);
  size_t i = 0;
  for (; i + kSideBySide * kLanes <= HS; i += kSideBySide * kLanes)
    decode_vectors<N, kSideBySide>(out + i, ld, p, v + i, stride, keys, HS - i);
  for (; i < HS; i += kLanes) decode_vectors<N, 1>(out + i, ld, p, v + i, stride, keys, HS - i);
}

/// Finds the instance for `heads` heads.
template <size_t N, class Fn>
HWY_INLINE void with_heads(size_t heads, const Fn& fn) {
  if constexpr (N > 1) {
    if (heads < N) return with_heads<N - 1>(heads, fn);
  }
  fn(std::integral_constant<size_t, N>());
}

/// What the heads of a query have got from `pieces` pieces of the keys, `step` floats apart, put together.
/// Overwrites the pieces' highest scores.
template <class W>
void finish_decoding(W* out, float* lse, float* partial, size_t pieces, size_t step, const AttentionShape& s,
                     const DecodePart& part) {
  const F32 d;
  const size_t HS = s.HS, HSp = round_up(HS, kHeadPad), ld = decode_partial_size(HS);
  for (size_t h = 0; h < s.NH; ++h) {
    float* const first = partial + h * ld;
    float highest = kLowest, sum = 0.0f;
    for (size_t c = 0; c < pieces; ++c) {
      const float of_piece = first[c * step + HSp];
      highest = of_piece > highest ? of_piece : highest;
    }
    for (size_t c = 0; c < pieces; ++c) {
      float* const of_piece = first + c * step + HSp;
      of_piece[0] = hn::GetLane(exp2_nonpositive(hn::Set(d, of_piece[0] - highest)));
      sum += of_piece[0] * of_piece[1];
    }
    W* const row = out + ((part.b * s.Tq + part.t) * s.NH + h) * HS;
    for (size_t i = 0; i < HS; i += kLanes) {
      V32 total = hn::Zero(d);
      for (size_t c = 0; c < pieces; ++c)
        total = hn::MulAdd(hn::Set(d, first[c * step + HSp]), load(first + c * step + i), total);
      store_n(hn::Div(total, hn::Set(d, sum)), row + i, HS - i);
    }
    lse[(part.b * s.NH + h) * s.Tq + part.t] = highest * kLn2 + __builtin_logf(sum);
  }
}

/// Query t of sequence b over one piece of the keys that it sees. `partial`: (NH, decode_partial_size(HS))
/// floats for what comes of it; null where there is no other piece: out and lse are then written. scratch of
/// decode_scratch_size(NH, HS).
template <class W>
void decode_piece(W* out, float* lse, float* partial, const W* q, const W* k, const W* v,
                  const AttentionShape& s, const DecodePart& part, float* scratch) {
  const size_t NH = s.NH, HS = s.HS, group = NH / s.NKV;
  const size_t HSp = round_up(HS, kHeadPad), ld = decode_partial_size(HS);
  const size_t kv = part.b * s.kv_batch_stride + part.first_key * s.kv_stride;
  Scratch memory{scratch};
  float* const p = memory.take(NH * kDecodeKeys);
  float* const q_rows = memory.take(NH * HSp);
  float* const sums = partial == nullptr ? memory.take(NH * ld) : partial;
  pack_floats(q_rows, q + (part.b * s.Tq + part.t) * s.q_stride, HS, NH, NH, HS, HSp);
  // All heads of a few keys before the next few: rows of one head lie a row of all heads apart, which the
  // hardware's prefetchers do not follow. The next are asked for into L2, which can wait for more lines than
  // L1 (into L1: a fifth slower). Inlined by force, see prefetch() in gemm_blocks.h.
  const size_t row_bytes = s.NKV * HS * sizeof(W), few = few_keys(row_bytes);
  const auto ask_for = [&](const W* rows, size_t j) __attribute__((always_inline)) {
    const size_t n = part.keys - j < few ? part.keys - j : few;
    for (size_t r = 0; r < n; ++r) {
      const auto* row = reinterpret_cast<const std::byte*>(rows + kv + (j + r) * s.kv_stride);
      for (size_t byte = 0; byte < row_bytes; byte += 64) __builtin_prefetch(row + byte, 0, 2);
    }
  };
  const auto for_few_keys = [&](const W* rows, const auto& fn) HWY_ATTR {
    for (size_t j = 0; j < part.keys; j += few) {
      const size_t keys = part.keys - j < few ? part.keys - j : few;
      if (j + few < part.keys) ask_for(rows, j + few);
      for (size_t h = 0; h < NH;) {
        const size_t g = h / group, left = (g + 1) * group - h;
        const size_t heads = left < kHeadsAtOnce ? left : kHeadsAtOnce;
        fn(j, keys, h, heads, rows + kv + j * s.kv_stride + g * HS);
        h += heads;
      }
    }
  };
  ask_for(k, 0);
  for_few_keys(k, [&](size_t j, size_t keys, size_t h, size_t heads, const W* rows) HWY_ATTR {
    with_heads<kHeadsAtOnce>(heads, [&](auto n) HWY_ATTR {
      decode_scores<n()>(p + h * kDecodeKeys + j, q_rows + h * HSp, rows, s.kv_stride, keys, HS);
    });
  });
  ask_for(v, 0);
  const ScoreScale scale(s);
  for (size_t h = 0; h < NH; ++h) {
    float* const row = sums + h * ld;
    std::memset(row, 0, HSp * sizeof(float));
    decode_exponentials(p + h * kDecodeKeys, part.keys, scale, row + HSp, row + HSp + 1);
  }
  for_few_keys(v, [&](size_t j, size_t keys, size_t h, size_t heads, const W* rows) HWY_ATTR {
    with_heads<kHeadsAtOnce>(heads, [&](auto n) HWY_ATTR {
      decode_values<n()>(sums + h * ld, p + h * kDecodeKeys + j, rows, s.kv_stride, keys, HS);
    });
  });
  if (partial == nullptr) finish_decoding(out, lse, sums, 1, 0, s, part);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS
#endif  // per-target include guard
