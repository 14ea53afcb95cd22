#include "kernels/head_norm.h"

#include <type_traits>

#include "core/profile.h"
#include "core/threads.h"
#include "kernels/column_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/head_norm.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

template <class W>
void head_norm_forward_rows(W* x, W* raw, float* rstd, const float* weight, float eps, const HeadNormShape& s,
                            size_t begin, size_t end) {
  const F32 d;
  for (size_t r = begin; r < end; ++r) {
    for (size_t g = 0; g < s.groups; ++g) {
      W* v = x + r * s.stride + g * s.width;
      V32 squares = hn::Zero(d);
      for (size_t i = 0; i < s.width; i += kLanes) {
        const V32 value = load_n(v + i, s.width - i);
        squares = hn::MulAdd(value, value, squares);
      }
      const float factor = 1.0f / __builtin_sqrtf(sum_lanes(squares) / static_cast<float>(s.width) + eps);
      const size_t group = r * s.groups + g;
      if (rstd != nullptr) rstd[group] = factor;
      if (raw != nullptr) std::memcpy(static_cast<void*>(raw + group * s.width), v, s.width * sizeof(W));
      for (size_t i = 0; i < s.width; i += kLanes) {
        const size_t n = s.width - i;
        const V32 normal = hn::Mul(hn::Set(d, factor), load_n(v + i, n));
        store_n(hn::Mul(normal, load_n(weight + i, n)), v + i, n);
      }
    }
  }
}

// dweight (width), where set, is this block's own sum.
template <class W>
void head_norm_backward_rows(W* dx, float* dweight, const W* raw, const float* rstd, const float* weight,
                             const HeadNormShape& s, size_t begin, size_t end) {
  const F32 d;
  for (size_t r = begin; r < end; ++r) {
    for (size_t g = 0; g < s.groups; ++g) {
      const size_t group = r * s.groups + g;
      W* dv = dx + r * s.stride + g * s.width;
      const W* v = raw + group * s.width;
      const V32 factor = hn::Set(d, rstd[group]);
      V32 dot = hn::Zero(d);
      for (size_t i = 0; i < s.width; i += kLanes) {
        const size_t n = s.width - i;
        const V32 product = hn::Mul(load_n(dv + i, n), load_n(v + i, n));
        dot = hn::MulAdd(load_n(weight + i, n), product, dot);
        if (dweight != nullptr) store_n(hn::MulAdd(factor, product, load_n(dweight + i, n)), dweight + i, n);
      }
      const float mean = sum_lanes(dot) / static_cast<float>(s.width) * rstd[group] * rstd[group];
      for (size_t i = 0; i < s.width; i += kLanes) {
        const size_t n = s.width - i;
        const V32 through = hn::Mul(load_n(weight + i, n), load_n(dv + i, n));
        store_n(hn::Mul(factor, hn::NegMulAdd(load_n(v + i, n), hn::Set(d, mean), through)), dv + i, n);
      }
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

template <class W>
void head_norm_forward(W* x, W* raw, Stream<W>* rstd, const Stream<W>* weight, Stream<W> eps,
                       const HeadNormShape& s) {
  const ProfileScope scope("norm forward", 0,
                           static_cast<double>(3 * s.rows * s.groups * s.width * sizeof(W)));
  if (!use_simd<W>()) return head_norm_forward_ref(x, raw, rstd, weight, eps, s);
  if constexpr (!std::is_same_v<W, double>) {
    const auto chunk = FATHOM_SIMD(head_norm_forward_rows<W>);
    parallel_ranges(s.rows, kSumRows,
                    [&](size_t begin, size_t end) { chunk(x, raw, rstd, weight, eps, s, begin, end); });
  }
}

template <class W>
void head_norm_backward(W* dx, Stream<W>* dweight, const W* raw, const Stream<W>* rstd,
                        const Stream<W>* weight, const HeadNormShape& s) {
  const ProfileScope scope("norm backward", 0,
                           static_cast<double>(3 * s.rows * s.groups * s.width * sizeof(W)));
  if (!use_simd<W>()) return head_norm_backward_ref(dx, dweight, raw, rstd, weight, s);
  if constexpr (!std::is_same_v<W, double>) {
    const auto chunk = FATHOM_SIMD(head_norm_backward_rows<W>);
    const auto run = [&](float* partial, size_t begin, size_t end) {
      chunk(dx, partial, raw, rstd, weight, s, begin, end);
    };
    if (dweight != nullptr) {
      add_column_sums(dweight, s.rows, s.width, run);
    } else {
      parallel_ranges(s.rows, kSumRows, [&](size_t begin, size_t end) { run(nullptr, begin, end); });
    }
  }
}

#define FATHOM_INSTANTIATE(W)                                                                             \
  template void head_norm_forward(W*, W*, Stream<W>*, const Stream<W>*, Stream<W>, const HeadNormShape&); \
  template void head_norm_backward(W*, Stream<W>*, const W*, const Stream<W>*, const Stream<W>*,          \
                                   const HeadNormShape&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
#endif  // HWY_ONCE
