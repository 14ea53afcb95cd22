#include "kernels/double_sums.h"

#include <type_traits>

#include "core/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/double_sums.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

using F64 = hn::ScalableTag<double>;
using V64 = hn::Vec<F64>;
using HalfF32 = hn::Rebind<float, F64>;
constexpr size_t kDoubles = HWY_LANES(double);

HWY_INLINE V64 load_wide(const float* p) { return hn::PromoteTo(F64(), hn::LoadU(HalfF32(), p)); }
HWY_INLINE V64 load_wide(const double* p) { return hn::LoadU(F64(), p); }

template <class S>
double dot_range(const S* a, const S* b, size_t n) {
  const F64 d;
  constexpr size_t k = kDoubles;
  // Four sums side by side hide the latency of one.
  V64 sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  size_t i = 0;
  for (; i + 4 * k <= n; i += 4 * k) {
    sum0 = hn::MulAdd(load_wide(a + i), load_wide(b + i), sum0);
    sum1 = hn::MulAdd(load_wide(a + i + k), load_wide(b + i + k), sum1);
    sum2 = hn::MulAdd(load_wide(a + i + 2 * k), load_wide(b + i + 2 * k), sum2);
    sum3 = hn::MulAdd(load_wide(a + i + 3 * k), load_wide(b + i + 3 * k), sum3);
  }
  double total = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
  for (; i < n; ++i) total += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return total;
}

HWY_INLINE double sum_lanes(V64 v) { return hn::GetLane(hn::SumOfLanes(F64(), v)); }

template <class S>
double variance_range(const S* x, size_t n) {
  const F64 d;
  constexpr size_t k = kDoubles;
  V64 sum0 = hn::Zero(d), sum1 = sum0;
  size_t i = 0;
  for (; i + 2 * k <= n; i += 2 * k) {
    sum0 = hn::Add(sum0, load_wide(x + i));
    sum1 = hn::Add(sum1, load_wide(x + i + k));
  }
  double mean = sum_lanes(hn::Add(sum0, sum1));
  for (; i < n; ++i) mean += static_cast<double>(x[i]);
  mean /= static_cast<double>(n);
  const V64 vmean = hn::Set(d, mean);
  sum0 = sum1 = hn::Zero(d);
  for (i = 0; i + 2 * k <= n; i += 2 * k) {
    const V64 a = hn::Sub(load_wide(x + i), vmean), b = hn::Sub(load_wide(x + i + k), vmean);
    sum0 = hn::MulAdd(a, a, sum0);
    sum1 = hn::MulAdd(b, b, sum1);
  }
  double sum = sum_lanes(hn::Add(sum0, sum1));
  for (; i < n; ++i) sum += (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean);
  return sum / static_cast<double>(n);
}

// sums: of the change's square, of before's, of their product, and the change's variance.
template <class S>
void step_range(double* sums, const S* after, const S* before, size_t n) {
  const F64 d;
  V64 change = hn::Zero(d), stream = change, product = change, total = change;
  size_t i = 0;
  for (; i + kDoubles <= n; i += kDoubles) {
    const V64 b = load_wide(before + i), c = hn::Sub(load_wide(after + i), b);
    change = hn::MulAdd(c, c, change);
    stream = hn::MulAdd(b, b, stream);
    product = hn::MulAdd(c, b, product);
    total = hn::Add(total, c);
  }
  const size_t whole = i;
  sums[0] = sum_lanes(change);
  sums[1] = sum_lanes(stream);
  sums[2] = sum_lanes(product);
  double mean = sum_lanes(total);
  for (; i < n; ++i) {
    const double b = static_cast<double>(before[i]), c = static_cast<double>(after[i]) - b;
    sums[0] += c * c;
    sums[1] += b * b;
    sums[2] += c * b;
    mean += c;
  }
  mean /= static_cast<double>(n);
  const V64 vmean = hn::Set(d, mean);
  V64 squares = hn::Zero(d);
  for (i = 0; i < whole; i += kDoubles) {
    const V64 c = hn::Sub(hn::Sub(load_wide(after + i), load_wide(before + i)), vmean);
    squares = hn::MulAdd(c, c, squares);
  }
  sums[3] = sum_lanes(squares);
  for (; i < n; ++i) {
    const double c = static_cast<double>(after[i]) - static_cast<double>(before[i]) - mean;
    sums[3] += c * c;
  }
  sums[3] /= static_cast<double>(n);
}

// sums: of the change's square and of the difference's.
void change_range(double* sums, const float* after, const float* before, const float* other_after,
                  const float* other_before, size_t n) {
  const F64 d;
  V64 change = hn::Zero(d), difference = change;
  size_t i = 0;
  for (; i + kDoubles <= n; i += kDoubles) {
    const V64 c = hn::Sub(load_wide(after + i), load_wide(before + i));
    const V64 e = hn::Sub(c, hn::Sub(load_wide(other_after + i), load_wide(other_before + i)));
    change = hn::MulAdd(c, c, change);
    difference = hn::MulAdd(e, e, difference);
  }
  sums[0] = hn::GetLane(hn::SumOfLanes(d, change));
  sums[1] = hn::GetLane(hn::SumOfLanes(d, difference));
  for (; i < n; ++i) {
    const double c = static_cast<double>(after[i]) - static_cast<double>(before[i]);
    const double e = c - (static_cast<double>(other_after[i]) - static_cast<double>(other_before[i]));
    sums[0] += c * c;
    sums[1] += e * e;
  }
}

// A tile of the product: kTile rows of out and two vectors of columns, all of whose sums stay in registers.
constexpr size_t kTile = 6;

void add_tile(double* out, size_t ld, const double* a, size_t a_ld, const double* b, size_t b_ld,
              size_t rows) {
  const F64 d;
  V64 low[kTile], high[kTile];
#pragma GCC unroll 6
  for (size_t i = 0; i < kTile; ++i) low[i] = high[i] = hn::Zero(d);
  for (size_t r = 0; r < rows; ++r) {
    const V64 b0 = hn::LoadU(d, b + r * b_ld), b1 = hn::LoadU(d, b + r * b_ld + kDoubles);
#pragma GCC unroll 6
    for (size_t i = 0; i < kTile; ++i) {
      const V64 x = hn::Set(d, a[r * a_ld + i]);
      low[i] = hn::MulAdd(x, b0, low[i]);
      high[i] = hn::MulAdd(x, b1, high[i]);
    }
  }
#pragma GCC unroll 6
  for (size_t i = 0; i < kTile; ++i) {
    double* o = out + i * ld;
    hn::StoreU(hn::Add(hn::LoadU(d, o), low[i]), d, o);
    hn::StoreU(hn::Add(hn::LoadU(d, o + kDoubles), high[i]), d, o + kDoubles);
  }
}

void add_rest(double* out, size_t ld, const double* a, size_t a_ld, const double* b, size_t b_ld, size_t rows,
              size_t m, size_t n) {
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < n; ++j) {
      double sum = 0;
      for (size_t r = 0; r < rows; ++r) sum += a[r * a_ld + i] * b[r * b_ld + j];
      out[i * ld + j] += sum;
    }
  }
}

// Rows [i0, i1) of out.
void add_strip(double* out, size_t ld, const double* a, const double* b, size_t rows, size_t M, size_t N,
               size_t i0, size_t i1, bool lower) {
  constexpr size_t kWide = 2 * kDoubles;
  for (size_t i = i0; i < i1; i += kTile) {
    const size_t m = i1 - i < kTile ? i1 - i : kTile;
    const size_t last = lower && i + m < N ? i + m : N;  // of the columns that are wanted
    for (size_t j = 0; j < last; j += kWide) {
      if (m == kTile && j + kWide <= N)
        add_tile(out + i * ld + j, ld, a + i, M, b + j, N, rows);
      else
        add_rest(out + i * ld + j, ld, a + i, M, b + j, N, rows, m, N - j < kWide ? N - j : kWide);
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

template <class S>
double dot(const S* a, const S* b, size_t n) {
  if (use_simd<float>()) return FATHOM_SIMD(dot_range<S>)(a, b, n);
  return dot_ref(a, b, n);
}

template <class S>
double variance(const S* x, size_t n) {
  if (use_simd<float>()) return FATHOM_SIMD(variance_range<S>)(x, n);
  return variance_ref(x, n);
}

template <class S>
StepSums step_sums(const S* after, const S* before, size_t n) {
  if (!use_simd<float>()) return step_sums_ref(after, before, n);
  double sums[4];
  FATHOM_SIMD(step_range<S>)(sums, after, before, n);
  return {sums[0], sums[1], sums[2], sums[3]};
}

template <class S>
ChangeSums change_sums(const S* after, const S* before, const S* other_after, const S* other_before,
                       size_t n) {
  if constexpr (std::is_same_v<S, float>) {
    if (use_simd<S>()) {
      double sums[2];
      FATHOM_SIMD(change_range)(sums, after, before, other_after, other_before, n);
      return {sums[0], sums[1]};
    }
  }
  return change_sums_ref(after, before, other_after, other_before, n);
}

void add_products(double* out, size_t ld, const double* a, const double* b, size_t rows, size_t M, size_t N,
                  bool lower) {
  constexpr size_t kStrip = 24;  // rows of out that a thread takes: four tiles
  if (!use_simd<float>()) return add_products_ref(out, ld, a, b, rows, M, N, lower);
  const auto strip = FATHOM_SIMD(add_strip);
  parallel_ranges(M, kStrip,
                  [&](size_t begin, size_t end) { strip(out, ld, a, b, rows, M, N, begin, end, lower); });
}

template double dot(const double*, const double*, size_t);
template double dot(const float*, const float*, size_t);
template double variance(const double*, size_t);
template double variance(const float*, size_t);
template StepSums step_sums(const double*, const double*, size_t);
template StepSums step_sums(const float*, const float*, size_t);
template ChangeSums change_sums(const double*, const double*, const double*, const double*, size_t);
template ChangeSums change_sums(const float*, const float*, const float*, const float*, size_t);

}  // namespace fathom
#endif  // HWY_ONCE
