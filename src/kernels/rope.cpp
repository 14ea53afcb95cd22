#include "kernels/rope.h"

#include <type_traits>

#include "core/profile.h"
#include "core/threads.h"
#include "kernels/bf16_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

// n pairs: (a, b) <- (a cos - b sin, b cos + a sin), after adding the biases where these are not null.
template <class W>
HWY_INLINE void rotate(W* pa, W* pb, const float* bias_a, const float* bias_b, const float* cos,
                       const float* sin, float sign, size_t pairs) {
  const V32 vsign = hn::Set(F32(), sign);
  for (size_t i = 0; i < pairs; i += kLanes) {
    const size_t n = pairs - i;
    const V32 c = load_n(cos + i, n), s = hn::Mul(vsign, load_n(sin + i, n));
    V32 a = load_n(pa + i, n), b = load_n(pb + i, n);
    if (bias_a != nullptr) {
      a = hn::Add(a, load_n(bias_a + i, n));
      b = hn::Add(b, load_n(bias_b + i, n));
    }
    store_n(hn::MulSub(a, c, hn::Mul(b, s)), pa + i, n);
    store_n(hn::MulAdd(b, c, hn::Mul(a, s)), pb + i, n);
  }
}

// Rows [begin, end).
template <class W>
void rope_rows(W* x, size_t begin, size_t end, size_t stride, size_t heads, size_t HS, size_t T,
               size_t first_position, const RopeTable<float>& table, bool inverse, const float* bias) {
  const size_t half = HS / 2;
  for (size_t r = begin; r < end; ++r) {
    const size_t at = (first_position + r % T) * half;
    for (size_t h = 0; h < heads; ++h) {
      W* head = x + r * stride + h * HS;
      const float* bias_h = bias == nullptr ? nullptr : bias + h * HS;
      rotate(head, head + half, bias_h, bias_h == nullptr ? nullptr : bias_h + half, table.cos.data() + at,
             table.sin.data() + at, inverse ? -1.0f : 1.0f, half);
    }
  }
}

template <class W>
void rope_pairs(W* a, W* b, const RopeBlock& block, const RopeTable<float>& table) {
  RopeRows rows(block, table.half);
  for (size_t r = 0; r < block.rows; ++r, a += block.ld, b += block.ld) {
    const size_t at = rows.next();
    rotate<W>(a, b, nullptr, nullptr, table.cos.data() + at, table.sin.data() + at,
              block.inverse ? -1.0f : 1.0f, block.pairs);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS

#if HWY_ONCE
namespace fathom {
namespace {
constexpr size_t kRowGrain = 16;  // rows a chunk: some 10 us at 24 heads of 64
}  // namespace

template <class W>
void rope_block(W* a, W* b, const RopeBlock& block, const RopeTable<Stream<W>>& table) {
  if (!use_simd<W>()) return rope_block_ref(a, b, block, table);
  if constexpr (std::is_same_v<W, bf16>) {
    if (active_isa() >= Isa::kAvx512Bf16) return rope_block_bf16(a, b, block, table);
  }
  if constexpr (!std::is_same_v<W, double>) FATHOM_SIMD(rope_pairs<W>)(a, b, block, table);
}

template <class W>
void rope(W* x, size_t rows, size_t stride, size_t heads, size_t HS, size_t T, size_t first_position,
          const RopeTable<Stream<W>>& table, bool inverse, const Stream<W>* bias) {
  const ProfileScope scope("rope", 0, static_cast<double>(2 * rows * heads * HS * sizeof(W)));
  if (!use_simd<W>()) return rope_ref(x, rows, stride, heads, HS, T, first_position, table, inverse, bias);
  if constexpr (std::is_same_v<W, bf16>) {
    if (active_isa() >= Isa::kAvx512Bf16 && bias == nullptr) {
      return parallel_ranges(rows, kRowGrain, [&](size_t begin, size_t end) {
        for (size_t r = begin; r < end; ++r) {
          const RopeBlock row{r, 1, 0, HS / 2, stride, T, first_position, inverse};
          for (W* head = x + r * stride; head < x + r * stride + heads * HS; head += HS)
            rope_block_bf16(head, head + HS / 2, row, table);
        }
      });
    }
  }
  if constexpr (!std::is_same_v<W, double>) {
    const auto chunk = FATHOM_SIMD(rope_rows<W>);
    parallel_ranges(rows, kRowGrain, [&](size_t begin, size_t end) {
      chunk(x, begin, end, stride, heads, HS, T, first_position, table, inverse, bias);
    });
  }
}

template void rope(double*, size_t, size_t, size_t, size_t, size_t, size_t, const RopeTable<double>&, bool,
                   const double*);
template void rope(float*, size_t, size_t, size_t, size_t, size_t, size_t, const RopeTable<float>&, bool,
                   const float*);
template void rope(bf16*, size_t, size_t, size_t, size_t, size_t, size_t, const RopeTable<float>&, bool,
                   const float*);
template void rope_block(double*, double*, const RopeBlock&, const RopeTable<double>&);
template void rope_block(float*, float*, const RopeBlock&, const RopeTable<float>&);
template void rope_block(bf16*, bf16*, const RopeBlock&, const RopeTable<float>&);

}  // namespace fathom
#endif  // HWY_ONCE
