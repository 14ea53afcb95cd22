#include "kernels/adamw.h"

#include <type_traits>

#include "core/threads.h"
#include "kernels/adamw_factors.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adamw.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

// 0 in place of denormals: the moments of a parameter that gets no gradient decay into them after some
// hundred steps, and arithmetic on denormals is up to a hundred times slower.
HWY_INLINE V32 flush(V32 x) { return hn::IfThenZeroElse(hn::Lt(hn::Abs(x), hn::Set(F32(), 0x1p-126f)), x); }

HWY_INLINE hn::Vec<U32> mix(hn::Vec<U32> h) {
  const U32 u;
  h = hn::Xor(h, hn::ShiftRight<16>(h));
  h = hn::Mul(h, hn::Set(u, 0x85ebca6bu));
  h = hn::Xor(h, hn::ShiftRight<13>(h));
  h = hn::Mul(h, hn::Set(u, 0xc2b2ae35u));
  return hn::Xor(h, hn::ShiftRight<16>(h));
}

// rounding_bits of elements index, index + 1, ...
HWY_INLINE hn::Vec<U32> random_bits(RoundingKey key, uint64_t index) {
  const U32 u;
  const auto start = hn::Set(u, static_cast<uint32_t>(index));
  const auto low = hn::Add(start, hn::Iota(u, 0));
  const auto carry = hn::IfThenElseZero(hn::Lt(low, start), hn::Set(u, 1u));
  const auto first = hn::Set(u, static_cast<uint32_t>(key.words));
  const auto second = hn::Set(u, static_cast<uint32_t>(key.words >> 32) + static_cast<uint32_t>(index >> 32));
  return mix(hn::Xor(mix(hn::Xor(low, first)), hn::Add(second, carry)));
}

// stochastic_bf16 of the first min(n, kLanes) lanes of x, by the low halves of `random`.
HWY_INLINE void store_stochastic(V32 x, hn::Vec<U32> random, bf16* p, size_t n) {
  const U32 u;
  const auto bits = hn::BitCast(u, x);
  const auto low = hn::And(random, hn::Set(u, 0xffffu));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, low));
  const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(u, 0x40u));
  const auto result = hn::IfThenElse(hn::RebindMask(u, hn::Eq(x, x)), rounded, quiet);
  store_n(hn::BitCast(F32(), hn::ShiftLeft<16>(result)), p, n);  // exact: the lower half is zero
}

template <class M>
void adamw_range(float* p, M* m, M* v, const float* g, bf16* copy, size_t n, const AdamWFactors& f,
                 uint64_t index) {
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
    if constexpr (sizeof(M) == sizeof(float)) {
      store_n(mi, m + i, left);
      store_n(vi, v + i, left);
    } else {
      const auto random = random_bits(f.key, index + i);
      store_stochastic(mi, random, m + i, left);
      store_stochastic(vi, hn::ShiftRight<16>(random), v + i, left);
    }
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

}  // namespace

template <class S, class M>
void adamw_update(S* p, M* m, M* v, const S* g, bf16* copy, size_t n, const AdamWSettings& settings) {
  if (!use_simd<S>()) return adamw_update_ref(p, m, v, g, copy, n, settings);
  if constexpr (std::is_same_v<S, float>) {
    const AdamWFactors factors = adamw_factors(settings);
    const auto chunk = FATHOM_SIMD(adamw_range<M>);
    parallel_ranges(n, kGrain, [&](size_t begin, size_t end) {
      chunk(p + begin, m + begin, v + begin, g + begin, copy == nullptr ? nullptr : copy + begin, end - begin,
            factors, settings.first + begin);
    });
  }
}

#define FATHOM_INSTANTIATE(S, M) \
  template void adamw_update(S*, M*, M*, const S*, bf16*, size_t, const AdamWSettings&);
FATHOM_INSTANTIATE(double, double)
FATHOM_INSTANTIATE(float, float)
FATHOM_INSTANTIATE(float, bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
#endif  // HWY_ONCE
