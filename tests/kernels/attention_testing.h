#pragma once
// What the tests of attention share: problems, both passes fast and plain, and what they are held to.

#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "core/buffer.h"
#include "kernels/attention.h"
#include "kernels/attention_plan.h"
#include "kernels/attention_tiles.h"
#include "kernels/kernel_testing.h"

namespace fathom::attention_testing {

using namespace testing;  // NOLINT: the helpers of these tests

/// One attention problem; q, k and v stand side by side in rows, as the model's joint projection leaves them.
template <class W>
struct Problem {
  size_t B, T, NH, NKV, HS;
  std::vector<int32_t> first_key = {};
  std::vector<W> qkv = {}, dout = {};
  double scale = 0, softcap = 0;

  Problem(size_t B_, size_t T_, size_t NH_, size_t NKV_, size_t HS_)
      : B(B_), T(T_), NH(NH_), NKV(NKV_), HS(HS_) {
    qkv = random_values<W>(B * T * stride(), 1);
    dout = random_values<W>(B * T * NH * HS, 2);
  }
  size_t stride() const { return (NH + 2 * NKV) * HS; }
  const W* k() const { return qkv.data() + NH * HS; }
  const W* v() const { return k() + NKV * HS; }
  AttentionShape shape() const {
    return {B,
            T,
            T,
            NH,
            NKV,
            HS,
            stride(),
            stride(),
            T * stride(),
            0,
            first_key.empty() ? nullptr : first_key.data(),
            scale,
            softcap};
  }
};

template <class W>
struct Result {
  std::vector<W> out, dqkv;
  std::vector<Stream<W>> lse;
};

// The passes as the drivers run them, on tiles in plain C++.
inline void emulated_forward(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                             const AttentionShape& s) {
  Buffer<float> scratch(tile_forward_scratch_size(s.Tk, s.HS));
  const size_t blocks = (s.Tq + kAttentionBlock - 1) / kAttentionBlock;
  constexpr size_t kTogether = kTileForwardQueries / kAttentionBlock;
  // Heads one by one in the first sequence, all together in the others.
  for (size_t b = 0; b < s.B; ++b) {
    const size_t heads = b == 0 ? 1 : s.NH;
    for (size_t h = 0; h < s.NH; h += heads) {
      for (size_t first = 0; first < blocks; first += kTogether) {
        const ForwardPart part{b, h, first * kAttentionBlock, std::min(kTogether, blocks - first), heads};
        emulated_attention().forward(out, lse, q, k, v, s, part, scratch.data());
      }
    }
  }
}

inline void emulated_backward(bf16* dq, bf16* dk, bf16* dv, const bf16* dout, const bf16* out,
                              const float* lse, const bf16* q, const bf16* k, const bf16* v,
                              const AttentionShape& s) {
  Buffer<float> scratch(tile_backward_scratch_size(s.Tq, s.HS));
  for (size_t b = 0; b < s.B; ++b) {
    const size_t heads = b == 0 ? 1 : s.NKV;
    for (size_t g = 0; g < s.NKV; g += heads)
      emulated_attention().backward({dq, dk, dv, dout, out, lse, q, k, v}, s, b, g, heads, scratch.data());
  }
}

inline bool emulates = false;  // whether bf16's fast passes are the emulated ones

template <class W>
auto fast_forward() {
  auto run = &attention_forward<W>;
  if constexpr (std::is_same_v<W, bf16>) {
    if (emulates) run = &emulated_forward;
  }
  return run;
}
template <class W>
auto fast_backward() {
  auto run = &attention_backward<W>;
  if constexpr (std::is_same_v<W, bf16>) {
    if (emulates) run = &emulated_backward;
  }
  return run;
}

template <class W>
void forward(Result<W>& r, const Problem<W>& p, bool reference) {
  r.out.assign(p.B * p.T * p.NH * p.HS, W(Stream<W>(0)));
  r.lse.assign(p.B * p.NH * p.T, 0);
  const auto run = reference ? &attention_forward_ref<W> : fast_forward<W>();
  run(r.out.data(), r.lse.data(), p.qkv.data(), p.k(), p.v(), p.shape());
}

// Backward from r.out and r.lse.
template <class W>
void backward(Result<W>& r, const Problem<W>& p, bool reference) {
  r.dqkv.assign(p.qkv.size(), W(Stream<W>(99)));  // what is left of it shows
  W* dq = r.dqkv.data();
  W* dk = dq + p.NH * p.HS;
  W* dv = dk + p.NKV * p.HS;
  const auto run = reference ? &attention_backward_ref<W> : fast_backward<W>();
  run(dq, dk, dv, p.dout.data(), r.out.data(), r.lse.data(), p.qkv.data(), p.k(), p.v(), p.shape());
}

// Inputs are standard normal: scores are then standard normal too (within 6), made of HS products below 40.
//
// fp32. A score is off by up to (HS + 4) u of its size times a typical |q||k| / sqrt(HS), below 16 here; so
// is the logarithm of a probability. out is a mean of v (below 6); gradients are sums over up to T queries of
// p (dp - delta) q, where p sums to 1 over keys but not over queries: factor T.
//
// bf16. The stored result rounds (kBf16Step). Where products are bf16 pairs, p and ds round to 2^-9 each: out
// and dq are off by up to 2^-8 of a mean of |v| or |k| (6 at most); dk and dv by 2^-8 of a sum over queries.
// The rounding of out enters delta: 2^-9 sum |dout| |out|, below 2^-9 HS.
template <class W>
void check(const Problem<W>& p) {
  SCOPED_TRACE(::testing::Message() << "B " << p.B << " T " << p.T << " NH " << p.NH << " NKV " << p.NKV
                                    << " HS " << p.HS << (p.first_key.empty() ? "" : " masked"));
  const bool is_bf16 = std::is_same_v<W, bf16>;
  Result<W> plain, fast;
  forward(plain, p, true);
  backward(plain, p, true);
  forward(fast, p, false);
  const double HS = static_cast<double>(p.HS), group = static_cast<double>(p.NH / p.NKV);
  const double score = 16 * (HS + 4) * kFloatUnit;
  expect_close(fast.lse, plain.lse, 4 * kFloatUnit, score, "lse");
  expect_close(fast.out, plain.out, storage_step<W>(), 6 * score + (is_bf16 ? 0x1p-8 * 2 : 0), "out");
  backward(fast, p, false);
  double largest = 1;
  for (const W& d : plain.dqkv) largest = std::max(largest, std::abs(static_cast<double>(d)));
  const double gradient = is_bf16 ? 0x1p-8 * (2 + largest) : 8 * score * (group + largest);
  expect_close(fast.dqkv, plain.dqkv, storage_step<W>(), gradient, "dqkv");
}

struct Heads {
  size_t NH = 4, NKV = 2, HS = 40;
};

// Queries q_start.. against a cache with room for more positions than are filled.
template <class W>
void check_cache(size_t q_start, size_t Tq, bool windowed, double softcap, Heads heads = {}) {
  const auto [NH, NKV, HS] = heads;
  SCOPED_TRACE(::testing::Message() << "q_start " << q_start << " Tq " << Tq << " heads " << NH << ", " << NKV
                                    << " of " << HS);
  const size_t B = 2, Tk = q_start + Tq, room = Tk + 3;
  const auto q = random_values<W>(B * Tq * NH * HS, 1);
  auto k = random_values<W>(B * room * NKV * HS, 2), v = random_values<W>(B * room * NKV * HS, 3);
  const W nan(std::numeric_limits<Stream<W>>::quiet_NaN());  // in the unused room
  for (size_t b = 0; b < B; ++b) {
    for (size_t i = (b * room + Tk) * NKV * HS; i < (b + 1) * room * NKV * HS; ++i) k[i] = v[i] = nan;
  }
  AttentionShape s{B, Tq, Tk, NH, NKV, HS, NH * HS, NKV * HS, room * NKV * HS, q_start, nullptr};
  std::vector<int32_t> first_key(B * Tq);
  for (size_t i = 0; i < B * Tq; ++i) first_key[i] = static_cast<int32_t>((q_start + i % Tq) / 2);
  if (windowed) s.first_key = first_key.data();
  s.softcap = softcap;
  std::vector<W> out(B * Tq * NH * HS), out_ref = out;
  std::vector<float> lse(B * NH * Tq), lse_ref = lse;
  attention_forward_ref(out_ref.data(), lse_ref.data(), q.data(), k.data(), v.data(), s);
  fast_forward<W>()(out.data(), lse.data(), q.data(), k.data(), v.data(), s);
  const double score = 16 * 44 * kFloatUnit;
  expect_close(lse, lse_ref, 4 * kFloatUnit, score, "lse");
  expect_close(out, out_ref, storage_step<W>(), 6 * score + (std::is_same_v<W, bf16> ? 0x1p-8 * 2 : 0),
               "out");
}

}  // namespace fathom::attention_testing
