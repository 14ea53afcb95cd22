#include "kernels/logit_rows.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/logit_rows.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

// Vectors whose sum is fp32 before it is added to a double.
constexpr size_t kBlock = 16;

// A last vector that is not full reads zeros behind the end: exp(0 - highest), which must not count.
HWY_INLINE V32 masked_exp(V32 z, V32 highest, size_t left) {
  const F32 d;
  const V32 e = exp_bounded(hn::Sub(z, highest));
  return left >= kLanes ? e : hn::IfThenElseZero(hn::FirstN(d, left), e);
}

// total: the sums of exp(z - highest) and, where there is an f, of exp(z - highest) (z - f).
template <bool with_f>
void exp_sums(double* total, const float* z, const float* f, float highest, size_t V) {
  const F32 d;
  const V32 vhighest = hn::Set(d, highest);
  total[0] = total[1] = 0;
  for (size_t i = 0; i < V;) {
    const size_t end = V - i < kBlock * kLanes ? V : i + kBlock * kLanes;
    V32 e_sum = hn::Zero(d), ed_sum = hn::Zero(d);
    for (; i < end; i += kLanes) {
      const V32 x = load_n(z + i, V - i), e = masked_exp(x, vhighest, V - i);
      e_sum = hn::Add(e_sum, e);
      if constexpr (with_f) ed_sum = hn::MulAdd(e, hn::Sub(x, load_n(f + i, V - i)), ed_sum);
    }
    total[0] += static_cast<double>(sum_lanes(e_sum));
    if constexpr (with_f) total[1] += static_cast<double>(sum_lanes(ed_sum));
  }
}

// The first place from `begin` on, in steps of whole vectors, where an element exceeds `bound`, or the last
// place that is a whole number of vectors from `begin`.
size_t next_above(const float* z, float bound, size_t begin, size_t V) {
  const F32 d;
  const V32 vbound = hn::Set(d, bound);
  size_t i = begin;
  for (; i + kLanes <= V; i += kLanes) {
    if (!hn::AllFalse(d, hn::Gt(load(z + i), vbound))) break;
  }
  return i;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS

#if HWY_ONCE
namespace fathom {

template <class S>
double log_sum_exp(const S* z, size_t V) {
  if constexpr (std::is_same_v<S, float>) {
    if (use_simd<S>()) {
      const float highest = FATHOM_SIMD(highest_of)(z, V);
      double sums[2];
      FATHOM_SIMD(exp_sums<false>)(sums, z, nullptr, highest, V);
      return static_cast<double>(highest) + std::log(sums[0]);
    }
  }
  return log_sum_exp_ref(z, V);
}

template <class S>
RowDivergence row_divergence(const S* z, const S* f, double f_lse, size_t V) {
  if constexpr (std::is_same_v<S, float>) {
    if (use_simd<S>()) {
      const float highest = FATHOM_SIMD(highest_of)(z, V);
      double sums[2];
      FATHOM_SIMD(exp_sums<true>)(sums, z, f, highest, V);
      const double lse = static_cast<double>(highest) + std::log(sums[0]);
      // log p - log q = z - f - (lse - f_lse), and p sums to 1.
      return {lse, sums[1] / sums[0] - (lse - f_lse)};
    }
  }
  return row_divergence_ref(z, f, f_lse, V);
}

template <class S>
size_t top_places(size_t* top, size_t count, const S* z, size_t V) {
  if constexpr (std::is_same_v<S, float>) {
    if (use_simd<S>() && V > 64 && count > 0) {
      const auto next = FATHOM_SIMD(next_above);
      size_t n = 0;
      for (size_t v = 0; v < V; ++v) {
        if (n == count && v % 16 == 0) {  // a whole number of vectors of any set
          v = next(z, z[top[n - 1]], v, V);
          if (v >= V) break;
        }
        if (n == count && !(z[v] > z[top[n - 1]])) continue;
        size_t at = n < count ? n++ : count - 1;
        for (; at > 0 && z[v] > z[top[at - 1]]; --at) top[at] = top[at - 1];
        top[at] = v;
      }
      return n;
    }
  }
  return top_places_ref(top, count, z, V);
}

#define FATHOM_INSTANTIATE(S)                                                \
  template double log_sum_exp(const S*, size_t);                             \
  template RowDivergence row_divergence(const S*, const S*, double, size_t); \
  template size_t top_places(size_t*, size_t, const S*, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
#endif  // HWY_ONCE
