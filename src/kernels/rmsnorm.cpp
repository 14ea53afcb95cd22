#include "kernels/rmsnorm.h"

#include <cmath>
#include <type_traits>

#include "core/profile.h"
#include "core/threads.h"
#include "core/types.h"
#include "kernels/bf16_rows.h"
#include "kernels/column_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rmsnorm.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

// Four sums side by side hide the latency of an addition, and shorten the chain that rounding adds up on.
HWY_INLINE float sum_of_squares(const float* x, size_t C) {
  const F32 d;
  V32 s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  size_t i = 0;
  for (; i + 4 * kLanes <= C; i += 4 * kLanes) {
    const V32 x0 = load(x + i), x1 = load(x + i + kLanes);
    const V32 x2 = load(x + i + 2 * kLanes), x3 = load(x + i + 3 * kLanes);
    s0 = hn::MulAdd(x0, x0, s0);
    s1 = hn::MulAdd(x1, x1, s1);
    s2 = hn::MulAdd(x2, x2, s2);
    s3 = hn::MulAdd(x3, x3, s3);
  }
  for (; i < C; i += kLanes) {
    const V32 x0 = load_n(x + i, C - i);
    s0 = hn::MulAdd(x0, x0, s0);
  }
  return sum_lanes(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
}

template <class Y>
void scale_row(Y* y, const float* x, const float* weight, float factor, size_t C) {
  const V32 vfactor = hn::Set(F32(), factor);
  for (size_t i = 0; i < C; i += kLanes) {
    const V32 normal = hn::Mul(vfactor, load_n(x + i, C - i));
    store_n(hn::Mul(normal, load_n(weight + i, C - i)), y + i, C - i);
  }
}

template <class Y>
void rmsnorm_forward_rows(Y* y, float* rstd, const float* x, const float* weight, float scale, float eps,
                          size_t rows, size_t C, ScaleRow<Y> scaled) {
  for (size_t r = 0; r < rows; ++r, x += C, y += C) {
    rstd[r] = 1.0f / __builtin_sqrtf(sum_of_squares(x, C) / static_cast<float>(C) + eps);
    scaled(y, x, weight, scale * rstd[r], C);
  }
}

// sum weight dy x of one row; where dweight is set, also dweight += factor dy x.
HWY_INLINE float backward_sums(float* dweight, const float* dy, const float* x, const float* weight,
                               float factor, size_t C) {
  const F32 d;
  const V32 vfactor = hn::Set(d, factor);
  V32 dot = hn::Zero(d);
  for (size_t i = 0; i < C; i += kLanes) {
    const size_t n = C - i;
    const V32 product = hn::Mul(load_n(dy + i, n), load_n(x + i, n));
    dot = hn::MulAdd(load_n(weight + i, n), product, dot);
    if (dweight != nullptr) store_n(hn::MulAdd(vfactor, product, load_n(dweight + i, n)), dweight + i, n);
  }
  return sum_lanes(dot);
}

// Rows of the backward; dweight (C), where set, is this block's own sum.
void rmsnorm_backward_rows(float* dx, bool accumulate, float* dweight, const float* dy, const float* x,
                           const float* weight, const float* rstd, float scale, size_t rows, size_t C) {
  const F32 d;
  for (size_t r = 0; r < rows; ++r, dx += C, dy += C, x += C) {
    const float factor = scale * rstd[r];  // y = factor x weight
    const float dot = backward_sums(dweight, dy, x, weight, factor, C);
    const V32 mean = hn::Set(d, dot / static_cast<float>(C) * rstd[r] * rstd[r]);
    const V32 vfactor = hn::Set(d, factor);
    for (size_t i = 0; i < C; i += kLanes) {
      const size_t n = C - i;
      const V32 through = hn::Mul(load_n(weight + i, n), load_n(dy + i, n));
      const V32 inner = hn::NegMulAdd(load_n(x + i, n), mean, through);
      const V32 sum = accumulate ? load_n(dx + i, n) : hn::Zero(d);
      store_n(hn::MulAdd(vfactor, inner, sum), dx + i, n);
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

template <class S, class Y>
void rmsnorm_forward(Y* y, S* rstd, const S* x, const S* weight, S scale, S eps, size_t rows, size_t C) {
  const ProfileScope scope("norm forward", 0, static_cast<double>(rows * C * (sizeof(S) + sizeof(Y))));
  if (!use_simd<S>()) return rmsnorm_forward_ref(y, rstd, x, weight, scale, eps, rows, C);
  if constexpr (std::is_same_v<S, float>) {
    const auto chunk = FATHOM_SIMD(rmsnorm_forward_rows<Y>);
    ScaleRow<Y> scaled = FATHOM_SIMD(scale_row<Y>);
    if constexpr (std::is_same_v<Y, bf16>) {
      if (active_isa() >= Isa::kAvx512Bf16) scaled = scale_row_bf16;
    }
    parallel_ranges(rows, kSumRows, [&](size_t begin, size_t end) {
      chunk(y + begin * C, rstd + begin, x + begin * C, weight, scale, eps, end - begin, C, scaled);
    });
  }
}

template <class S>
void rmsnorm_backward(S* dx, bool accumulate, S* dweight, const S* dy, const S* x, const S* weight,
                      const S* rstd, S scale, size_t rows, size_t C) {
  const ProfileScope scope("norm backward", 0,
                           static_cast<double>(rows * C * sizeof(S) * (accumulate ? 4 : 3)));
  if (!use_simd<S>()) {
    return rmsnorm_backward_ref(dx, accumulate, dweight, dy, x, weight, rstd, scale, rows, C);
  }
  if constexpr (std::is_same_v<S, float>) {
    const auto chunk = FATHOM_SIMD(rmsnorm_backward_rows);
    const auto run = [&](float* partial, size_t begin, size_t end) {
      chunk(dx + begin * C, accumulate, partial, dy + begin * C, x + begin * C, weight, rstd + begin, scale,
            end - begin, C);
    };
    if (dweight != nullptr) {
      add_column_sums(dweight, rows, C, run);
    } else {
      parallel_ranges(rows, kSumRows, [&](size_t begin, size_t end) { run(nullptr, begin, end); });
    }
  }
}

template void rmsnorm_forward(double*, double*, const double*, const double*, double, double, size_t, size_t);
template void rmsnorm_forward(float*, float*, const float*, const float*, float, float, size_t, size_t);
template void rmsnorm_forward(bf16*, float*, const float*, const float*, float, float, size_t, size_t);
template void rmsnorm_backward(double*, bool, double*, const double*, const double*, const double*,
                               const double*, double, size_t, size_t);
template void rmsnorm_backward(float*, bool, float*, const float*, const float*, const float*, const float*,
                               float, size_t, size_t);

}  // namespace fathom
#endif  // HWY_ONCE
