#include "kernels/attention.h"

#include <type_traits>

#include "core/buffer.h"
#include "core/threads.h"
#include "kernels/attention_dpbf16.h"
#include "kernels/attention_plan.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention.cpp"
#include "kernels/attention_backward-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

template <class W>
void forward_block_floats(W* out, float* lse, const W* q, const W* k, const W* v, const AttentionShape& s,
                          size_t b, size_t h, size_t t0, float* scratch) {
  forward_block<FloatPanel>(out, lse, q, k, v, s, b, h, t0, scratch);
}

template <class W>
void backward_head_floats(W* dq, W* dk, W* dv, const W* dout, const W* out, const float* lse, const W* q,
                          const W* k, const W* v, const AttentionShape& s, size_t b, size_t g,
                          float* scratch) {
  backward_head<FloatPanel>(dq, dk, dv, dout, out, lse, q, k, v, s, b, g, scratch);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS

#if HWY_ONCE
namespace fathom {
namespace {

// Up to so many queries, each goes over the keys by itself: decoding. Above, packing keys pays.
constexpr size_t kMostRows = 4;

// This thread's scratch memory, kept from call to call: at T = 8192 and HS = 128 a backward's is 20 MiB, and
// asking the system for it anew each time would cost as much as the arithmetic of short sequences.
float* scratch_of(size_t size) {
  static thread_local Buffer<float> memory;
  if (memory.size() < size) memory = Buffer<float>(size);
  return memory.data();
}

template <class W>
void forward_simd(W* out, float* lse, const W* q, const W* k, const W* v, const AttentionShape& s) {
  if (s.Tq <= kMostRows) {
    const auto row = FATHOM_SIMD(forward_row<W>);
    parallel_for(s.B * s.NH * s.Tq, [&](size_t i) {
      const size_t t = i % s.Tq, h = i / s.Tq % s.NH, b = i / s.Tq / s.NH;
      row(out, lse, q, k, v, s, b, h, t, scratch_of(row_scratch_size(s.Tk, s.HS)));
    });
    return;
  }
  auto block = FATHOM_SIMD(forward_block_floats<W>);
  if constexpr (std::is_same_v<W, bf16>) {
    if (active_isa() >= Isa::kAvx512Bf16) block = &attention_forward_block_dpbf16;
  }
  const size_t blocks = (s.Tq + kAttentionBlock - 1) / kAttentionBlock;
  parallel_for(s.B * s.NH * blocks, [&](size_t i) {
    const size_t t0 = i % blocks * kAttentionBlock, h = i / blocks % s.NH, b = i / blocks / s.NH;
    block(out, lse, q, k, v, s, b, h, t0, scratch_of(forward_scratch_size(s.HS)));
  });
}

template <class W>
void backward_simd(W* dq, W* dk, W* dv, const W* dout, const W* out, const float* lse, const W* q, const W* k,
                   const W* v, const AttentionShape& s) {
  auto head = FATHOM_SIMD(backward_head_floats<W>);
  if constexpr (std::is_same_v<W, bf16>) {
    if (active_isa() >= Isa::kAvx512Bf16) head = &attention_backward_head_dpbf16;
  }
  // One head of keys and values is one piece of work: its dk and dv then add up in one place, in one order.
  parallel_for(s.B * s.NKV, [&](size_t i) {
    head(dq, dk, dv, dout, out, lse, q, k, v, s, i / s.NKV, i % s.NKV,
         scratch_of(backward_scratch_size(s.Tq, s.HS)));
  });
}

}  // namespace

template <class W>
void attention_forward(W* out, Stream<W>* lse, const W* q, const W* k, const W* v, const AttentionShape& s) {
  if (!use_simd<W>()) return attention_forward_ref(out, lse, q, k, v, s);
  if constexpr (!std::is_same_v<W, double>) forward_simd(out, lse, q, k, v, s);
}

template <class W>
void attention_backward(W* dq, W* dk, W* dv, const W* dout, const W* out, const Stream<W>* lse, const W* q,
                        const W* k, const W* v, const AttentionShape& s) {
  if (!use_simd<W>()) return attention_backward_ref(dq, dk, dv, dout, out, lse, q, k, v, s);
  if constexpr (!std::is_same_v<W, double>) backward_simd(dq, dk, dv, dout, out, lse, q, k, v, s);
}

#define FATHOM_INSTANTIATE(W)                                                                            \
  template void attention_forward(W*, Stream<W>*, const W*, const W*, const W*, const AttentionShape&);  \
  template void attention_backward(W*, W*, W*, const W*, const W*, const Stream<W>*, const W*, const W*, \
                                   const W*, const AttentionShape&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
#endif  // HWY_ONCE
