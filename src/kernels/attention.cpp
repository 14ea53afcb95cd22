#include "kernels/attention.h"

#include <algorithm>
#include <cassert>
#include <type_traits>

#include "core/buffer.h"
#include "core/profile.h"
#include "core/threads.h"
#include "kernels/attention_dpbf16.h"
#include "kernels/attention_plan.h"
#include "kernels/attention_tiles.h"
#include "kernels/tile_trust.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention.cpp"
#include "kernels/attention_backward-inl.h"
#include "kernels/attention_decode-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

template <class W>
void forward_blocks_floats(W* out, float* lse, const W* q, const W* k, const W* v, const AttentionShape& s,
                           const ForwardPart& part, float* scratch) {
  forward_blocks<FloatPanel>(out, lse, q, k, v, s, part, scratch);
}

template <class W>
void backward_heads_floats(W* dq, W* dk, W* dv, const W* dout, const W* out, const float* lse, const W* q,
                           const W* k, const W* v, const AttentionShape& s, const BackwardPart& part,
                           float* scratch) {
  backward_heads<FloatPanel>(dq, dk, dv, dout, out, lse, q, k, v, s, part, scratch);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS

#if HWY_ONCE
namespace fathom {
namespace {

// Up to so many queries, each goes over the keys where they are: decoding. Above, packing keys pays.
constexpr size_t kMostRows = 4;

// This thread's scratch memory, kept from call to call: at T = 8192 and HS = 128 a backward's is 20 MiB, and
// asking the system for it anew each time would cost as much as the arithmetic of short sequences.
float* scratch_of(size_t size) {
  static thread_local Buffer<float> memory;
  return ensure(memory, size);
}

// Whether the tiles take a pass in bf16; a cap on the scores is left to the vector kernels.
bool on_tiles(bool softcap) { return active_isa() == Isa::kAmx && !softcap && amx_is_trusted(); }

// attention.h's preconditions.
[[maybe_unused]] bool is_valid(const AttentionShape& s, DType type) {
  if (s.NH % s.NKV != 0 || s.Tk < s.q_start + s.Tq || (type == DType::kBf16 && s.HS % 8 != 0)) return false;
  for (size_t i = 0; s.first_key != nullptr && i < s.B * s.Tq; ++i) {
    if (s.first_key[i] < 0 || static_cast<size_t>(s.first_key[i]) > s.q_start + i % s.Tq) return false;
  }
  return true;
}

bool pairs_pay() {
  const Isa isa = active_isa();
  return isa == Isa::kAvx512Bf16 || (isa > Isa::kAvx512Bf16 && !slow_bf16_pairs());
}

// Heads that one piece of work takes one after the other, so that it can ask for the next one's rows, but
// enough pieces for the threads.
size_t heads_together(size_t pieces, size_t heads) {
  constexpr size_t kPiecesPerThread = 4;
  return std::clamp<size_t>(pieces / (kPiecesPerThread * num_threads()), 1, heads);
}

void tile_forward(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                  const AttentionShape& s) {
  constexpr size_t kBlocks = kTileForwardQueries / kAttentionBlock;
  const size_t blocks = (s.Tq + kAttentionBlock - 1) / kAttentionBlock;
  const size_t parts = (blocks + kBlocks - 1) / kBlocks;
  const size_t together = heads_together(s.B * s.NH * parts, s.NH), groups = (s.NH + together - 1) / together;
  parallel_for(s.B * groups * parts, [&](size_t i) {
    const size_t first = i % parts * kBlocks, h = i / parts % groups * together;
    const ForwardPart part{i / parts / groups, h, first * kAttentionBlock, std::min(kBlocks, blocks - first),
                           std::min(together, s.NH - h)};
    amx_attention().forward(out, lse, q, k, v, s, part, scratch_of(tile_forward_scratch_size(s.Tk, s.HS)));
  });
}

// Turns the gradients of the rotated heads [first, first + heads) of a sequence back.
template <class W>
void turn_heads_back(W* dx, size_t stride, size_t first, size_t heads, size_t T, size_t HS,
                     const RopeTable<Stream<W>>& table) {
  for (W* head = dx + first * HS; head < dx + (first + heads) * HS; head += HS)
    rope_block(head, head + HS / 2, {0, T, 0, HS / 2, stride, T, 0, true}, table);
}

// Of `heads` heads of keys from g on, and of the queries that read them.
template <class W>
void turn_back(W* dq, W* dk, size_t b, size_t g, size_t heads, const AttentionShape& s,
               const RopeTable<Stream<W>>* table) {
  if (table == nullptr) return;
  const size_t group = s.NH / s.NKV, T = s.Tq;
  turn_heads_back(dq + b * T * s.q_stride, s.q_stride, g * group, heads * group, T, s.HS, *table);
  turn_heads_back(dk + b * s.kv_batch_stride, s.kv_stride, g, heads, T, s.HS, *table);
}

void tile_backward(const TileGradients& arrays, const AttentionShape& s, const RopeTable<float>* rotated_by) {
  const size_t together = heads_together(s.B * s.NKV, s.NKV), groups = (s.NKV + together - 1) / together;
  parallel_for(s.B * groups, [&](size_t i) {
    const size_t g = i % groups * together, heads = std::min(together, s.NKV - g);
    amx_attention().backward(arrays, s, i / groups, g, heads,
                             scratch_of(tile_backward_scratch_size(s.Tq, s.HS)));
    turn_back(arrays.dq, arrays.dk, i / groups, g, heads, s, rotated_by);
  });
}

// Pieces of keys start at the first that a query sees, so that padding before it does not change the bits.
template <class W>
void decode_simd(W* out, float* lse, const W* q, const W* k, const W* v, const AttentionShape& s) {
  const auto first_of = [&](size_t b, size_t t) {
    return s.first_key == nullptr ? size_t{0} : static_cast<size_t>(s.first_key[b * s.Tq + t]);
  };
  const size_t queries = s.B * s.Tq;
  size_t most = 0;
  for (size_t i = 0; i < queries; ++i)
    most = std::max(most, s.q_start + i % s.Tq + 1 - first_of(i / s.Tq, i % s.Tq));
  const size_t pieces = (most + kDecodeKeys - 1) / kDecodeKeys;
  const size_t step = s.NH * decode_partial_size(s.HS);  // of a piece
  static thread_local Buffer<float> memory;
  float* const partials = pieces == 1 ? nullptr : ensure(memory, queries * pieces * step);
  const auto piece = FATHOM_SIMD(decode_piece<W>);
  parallel_for(queries * pieces, [&](size_t i) {
    const size_t b = i / pieces / s.Tq, t = i / pieces % s.Tq;
    const size_t first = first_of(b, t) + i % pieces * kDecodeKeys, end = s.q_start + t + 1;
    if (first >= end) return;
    piece(out, lse, partials == nullptr ? nullptr : partials + i * step, q, k, v, s,
          {b, t, first, std::min(kDecodeKeys, end - first)}, scratch_of(decode_scratch_size(s.NH, s.HS)));
  });
  if (partials == nullptr) return;
  const auto finish = FATHOM_SIMD(finish_decoding<W>);
  parallel_for(queries, [&](size_t i) {
    const size_t b = i / s.Tq, t = i % s.Tq, first = first_of(b, t), keys = s.q_start + t + 1 - first;
    finish(out, lse, partials + i * pieces * step, (keys + kDecodeKeys - 1) / kDecodeKeys, step, s,
           {b, t, first, keys});
  });
}

template <class W>
void forward_simd(W* out, float* lse, const W* q, const W* k, const W* v, const AttentionShape& s) {
  if (s.Tq <= kMostRows && !s.in_blocks) return decode_simd(out, lse, q, k, v, s);
  auto run = FATHOM_SIMD(forward_blocks_floats<W>);
  if constexpr (std::is_same_v<W, bf16>) {
    if (on_tiles(s.softcap != 0)) return tile_forward(out, lse, q, k, v, s);
    if (pairs_pay()) run = &attention_forward_blocks_dpbf16;
  }
  const size_t blocks = (s.Tq + kAttentionBlock - 1) / kAttentionBlock;
  const size_t together = blocks > kForwardBlocks ? kForwardBlocks : 1;
  const size_t parts = (blocks + together - 1) / together;
  parallel_for(s.B * s.NH * parts, [&](size_t i) {
    const size_t first = i % parts * together;
    const ForwardPart part{i / parts / s.NH, i / parts % s.NH, first * kAttentionBlock,
                           std::min(together, blocks - first)};
    run(out, lse, q, k, v, s, part, scratch_of(forward_scratch_size(s.HS)));
  });
}

template <class W>
void backward_simd(W* dq, W* dk, W* dv, const W* dout, const W* out, const float* lse, const W* q, const W* k,
                   const W* v, const AttentionShape& s, const RopeTable<float>* rotated_by) {
  auto run = FATHOM_SIMD(backward_heads_floats<W>);
  if constexpr (std::is_same_v<W, bf16>) {
    if (on_tiles(s.softcap != 0)) return tile_backward({dq, dk, dv, dout, out, lse, q, k, v}, s, rotated_by);
    if (pairs_pay()) run = &attention_backward_heads_dpbf16;
  }
  const size_t group = s.NH / s.NKV, sums_size = backward_sums_size(s.Tq, s.HS);
  const auto run_part = [&](const BackwardPart& part) {
    run(dq, dk, dv, dout, out, lse, q, k, v, s, part, scratch_of(backward_scratch_size(s.Tq, s.HS)));
  };
  if (!splits_backward(s.B, s.Tq, s.NH, s.NKV, s.HS)) {
    // A key/value head is one piece of work: its dk and dv add up in one place, in one order.
    parallel_for(s.B * s.NKV, [&](size_t i) {
      const size_t b = i / s.NKV, g = i % s.NKV;
      run_part({b, g * group, group, nullptr});
      turn_back(dq, dk, b, g, 1, s, rotated_by);
    });
    return;
  }
  static thread_local Buffer<float> memory;
  float* const sums = ensure(memory, s.B * s.NH * sums_size);
  parallel_for(s.B * s.NH, [&](size_t i) { run_part({i / s.NH, i % s.NH, 1, sums + i * sums_size}); });
  const auto write = FATHOM_SIMD(write_key_gradients<W>);
  parallel_for(s.B * s.NKV, [&](size_t i) {
    const size_t b = i / s.NKV, g = i % s.NKV, kv = b * s.kv_batch_stride + g * s.HS;
    write(dk + kv, dv + kv, sums + i * group * sums_size, group, s);
    turn_back(dq, dk, b, g, 1, s, rotated_by);
  });
}

// FLOP of one product of all heads' scores (queries, keys) with HS numbers each: half of the square.
double product_flop(const AttentionShape& s) {
  const auto queries = static_cast<double>(s.Tq), before = static_cast<double>(s.q_start);
  return 2.0 * static_cast<double>(s.B * s.NH * s.HS) * queries * (before + 0.5 * queries);
}

template <class W>
double operand_bytes(const AttentionShape& s) {
  return static_cast<double>(s.B * s.HS * sizeof(W)) * static_cast<double>(s.Tq * s.NH + s.Tk * s.NKV);
}

}  // namespace

size_t attention_scratch_bytes(DType type, size_t T, size_t NH, size_t HS, bool softcap) {
  if (type == DType::kF64 || active_isa() < Isa::kAvx2) return 0;  // the references keep nothing
  const size_t row = decode_scratch_size(NH, HS);
  if (type == DType::kBf16 && on_tiles(softcap))
    return sizeof(float) *
           std::max({row, tile_forward_scratch_size(T, HS), tile_backward_scratch_size(T, HS)});
  return sizeof(float) * std::max({row, forward_scratch_size(HS), backward_scratch_size(T, HS)});
}

size_t attention_shared_bytes(DType type, size_t B, size_t T, size_t NH, size_t NKV, size_t HS,
                              bool softcap) {
  const bool vectors = type != DType::kF64 && active_isa() >= Isa::kAvx2;
  if (!vectors || (type == DType::kBf16 && on_tiles(softcap)) || !splits_backward(B, T, NH, NKV, HS))
    return 0;
  return sizeof(float) * B * NH * backward_sums_size(T, HS);
}

template <class W>
void attention_forward(W* out, Stream<W>* lse, const W* q, const W* k, const W* v, const AttentionShape& s) {
  assert(is_valid(s, dtype_of<W>()));
  const ProfileScope scope("attention forward", 2 * product_flop(s), 2 * operand_bytes<W>(s));
  if (!use_simd<W>()) return attention_forward_ref(out, lse, q, k, v, s);
  if constexpr (!std::is_same_v<W, double>) forward_simd(out, lse, q, k, v, s);
}

namespace {

template <class W>
void backward(W* dq, W* dk, W* dv, const W* dout, const W* out, const Stream<W>* lse, const W* q, const W* k,
              const W* v, const AttentionShape& s, const RopeTable<Stream<W>>* rotated_by) {
  assert(is_valid(s, dtype_of<W>()) && s.q_start == 0 && s.Tk == s.Tq);
  const ProfileScope scope("attention backward", 5 * product_flop(s), 4 * operand_bytes<W>(s));
  if (!use_simd<W>()) {
    attention_backward_ref(dq, dk, dv, dout, out, lse, q, k, v, s);
    for (size_t b = 0; b < s.B; ++b) turn_back(dq, dk, b, 0, s.NKV, s, rotated_by);
    return;
  }
  if constexpr (!std::is_same_v<W, double>) backward_simd(dq, dk, dv, dout, out, lse, q, k, v, s, rotated_by);
}

}  // namespace

template <class W>
void attention_backward(W* dq, W* dk, W* dv, const W* dout, const W* out, const Stream<W>* lse, const W* q,
                        const W* k, const W* v, const AttentionShape& s) {
  backward<W>(dq, dk, dv, dout, out, lse, q, k, v, s, nullptr);
}

template <class W>
void attention_backward_before_rope(W* dq, W* dk, W* dv, const W* dout, const W* out, const Stream<W>* lse,
                                    const W* q, const W* k, const W* v, const AttentionShape& s,
                                    const RopeTable<Stream<W>>& rotated_by) {
  backward<W>(dq, dk, dv, dout, out, lse, q, k, v, s, &rotated_by);
}

#define FATHOM_INSTANTIATE(W)                                                                              \
  template void attention_forward(W*, Stream<W>*, const W*, const W*, const W*, const AttentionShape&);    \
  template void attention_backward(W*, W*, W*, const W*, const W*, const Stream<W>*, const W*, const W*,   \
                                   const W*, const AttentionShape&);                                       \
  template void attention_backward_before_rope(W*, W*, W*, const W*, const W*, const Stream<W>*, const W*, \
                                               const W*, const W*, const AttentionShape&,                  \
                                               const RopeTable<Stream<W>>&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
#endif  // HWY_ONCE
