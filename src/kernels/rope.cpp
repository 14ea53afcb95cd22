#include "kernels/rope.h"

#include <type_traits>

#include "core/profile.h"
#include "core/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

// One head: (a, b) <- (a cos - b sin, b cos + a sin) for its halves a and b, after adding the bias.
template <class W>
HWY_INLINE void rotate_head(W* x, const float* bias, const float* cos, const float* sin, float sign,
                            size_t half) {
  const V32 vsign = hn::Set(F32(), sign);
  for (size_t i = 0; i < half; i += kLanes) {
    const size_t n = half - i;
    const V32 c = load_n(cos + i, n), s = hn::Mul(vsign, load_n(sin + i, n));
    V32 a = load_n(x + i, n), b = load_n(x + half + i, n);
    if (bias != nullptr) {
      a = hn::Add(a, load_n(bias + i, n));
      b = hn::Add(b, load_n(bias + half + i, n));
    }
    store_n(hn::MulSub(a, c, hn::Mul(b, s)), x + i, n);
    store_n(hn::MulAdd(b, c, hn::Mul(a, s)), x + half + i, n);
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
      rotate_head(x + r * stride + h * HS, bias == nullptr ? nullptr : bias + h * HS, table.cos.data() + at,
                  table.sin.data() + at, inverse ? -1.0f : 1.0f, half);
    }
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
void rope(W* x, size_t rows, size_t stride, size_t heads, size_t HS, size_t T, size_t first_position,
          const RopeTable<Stream<W>>& table, bool inverse, const Stream<W>* bias) {
  const ProfileScope scope("rope", 0, static_cast<double>(2 * rows * heads * HS * sizeof(W)));
  if (!use_simd<W>()) return rope_ref(x, rows, stride, heads, HS, T, first_position, table, inverse, bias);
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

}  // namespace fathom
#endif  // HWY_ONCE
