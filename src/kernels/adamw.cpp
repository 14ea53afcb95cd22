#include "kernels/adamw.h"

#include <cmath>
#include <type_traits>

#include "core/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adamw.cpp"
#include "kernels/simd-inl.h"

#if !defined(FATHOM_KERNELS_ADAMW_FACTORS)
#define FATHOM_KERNELS_ADAMW_FACTORS
namespace fathom {
namespace {
// What the settings come to for one step, in fp32 but computed in double: 1 - beta2 = 0.001 would lose four
// digits in fp32, and 1 - lr weight_decay nearly all of what it differs from 1 by.
struct AdamWFactors {
  float beta1, one_minus_beta1, beta2, one_minus_beta2, grad_scale;
  float rate;          // lr / (1 - beta1^t)
  float v_correction;  // 1 / (1 - beta2^t)
  float eps, decay;    // decay = lr weight_decay
};
}  // namespace
}  // namespace fathom
#endif

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

// 0 in place of denormals: the moments of a parameter that gets no gradient decay into them after some
// hundred steps, and arithmetic on denormals is up to a hundred times slower.
HWY_INLINE V32 flush(V32 x) { return hn::IfThenZeroElse(hn::Lt(hn::Abs(x), hn::Set(F32(), 0x1p-126f)), x); }

void adamw_range(float* p, float* m, float* v, const float* g, bf16* copy, size_t n, const AdamWFactors& f) {
  const F32 d;
  const V32 beta1 = hn::Set(d, f.beta1), one_minus_beta1 = hn::Set(d, f.one_minus_beta1);
  const V32 beta2 = hn::Set(d, f.beta2), one_minus_beta2 = hn::Set(d, f.one_minus_beta2);
  const V32 grad_scale = hn::Set(d, f.grad_scale), rate = hn::Set(d, f.rate);
  const V32 v_correction = hn::Set(d, f.v_correction), eps = hn::Set(d, f.eps), decay = hn::Set(d, f.decay);
  for (size_t i = 0; i < n; i += kLanes) {
    const size_t left = n - i;
    const V32 gi = hn::Mul(grad_scale, load_n(g + i, left));
    const V32 mi = flush(hn::MulAdd(beta1, load_n(m + i, left), hn::Mul(one_minus_beta1, gi)));
    const V32 vi = flush(hn::MulAdd(beta2, load_n(v + i, left), hn::Mul(hn::Mul(one_minus_beta2, gi), gi)));
    store_n(mi, m + i, left);
    store_n(vi, v + i, left);
    const V32 pi = load_n(p + i, left);
    const V32 step = hn::Div(hn::Mul(rate, mi), hn::Add(hn::Sqrt(hn::Mul(vi, v_correction)), eps));
    const V32 updated = hn::Sub(pi, hn::MulAdd(decay, pi, step));
    store_n(updated, p + i, left);
    if (copy != nullptr) store_n(updated, copy + i, left);
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

constexpr size_t kGrain = 16384;  // elements a chunk: 64 KiB of each array, far more than a hand-over costs

AdamWFactors factors_of(const AdamWSettings& s) {
  const auto t = static_cast<double>(s.step);
  return {.beta1 = static_cast<float>(s.beta1),
          .one_minus_beta1 = static_cast<float>(1.0 - s.beta1),
          .beta2 = static_cast<float>(s.beta2),
          .one_minus_beta2 = static_cast<float>(1.0 - s.beta2),
          .grad_scale = static_cast<float>(s.grad_scale),
          .rate = static_cast<float>(s.lr / (1.0 - std::pow(s.beta1, t))),
          .v_correction = static_cast<float>(1.0 / (1.0 - std::pow(s.beta2, t))),
          .eps = static_cast<float>(s.eps),
          .decay = static_cast<float>(s.lr * s.weight_decay)};
}

}  // namespace

template <class S>
void adamw_update(S* p, S* m, S* v, const S* g, bf16* copy, size_t n, const AdamWSettings& settings) {
  if (!use_simd<S>()) return adamw_update_ref(p, m, v, g, copy, n, settings);
  if constexpr (std::is_same_v<S, float>) {
    const AdamWFactors factors = factors_of(settings);
    const auto chunk = FATHOM_SIMD(adamw_range);
    parallel_ranges(n, kGrain, [&](size_t begin, size_t end) {
      chunk(p + begin, m + begin, v + begin, g + begin, copy == nullptr ? nullptr : copy + begin, end - begin,
            factors);
    });
  }
}

template void adamw_update(double*, double*, double*, const double*, bf16*, size_t, const AdamWSettings&);
template void adamw_update(float*, float*, float*, const float*, bf16*, size_t, const AdamWSettings&);

}  // namespace fathom
#endif  // HWY_ONCE
