#include "kernels/double_sums.h"

namespace fathom {

template <class S>
double dot_ref(const S* a, const S* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

template <class S>
double variance_ref(const S* x, size_t n) {
  double mean = 0, sum = 0;
  for (size_t i = 0; i < n; ++i) mean += static_cast<double>(x[i]);
  mean /= static_cast<double>(n);
  for (size_t i = 0; i < n; ++i) {
    const double d = static_cast<double>(x[i]) - mean;
    sum += d * d;
  }
  return sum / static_cast<double>(n);
}

template <class S>
StepSums step_sums_ref(const S* after, const S* before, size_t n) {
  const auto change = [&](size_t i) {
    return static_cast<double>(after[i]) - static_cast<double>(before[i]);
  };
  StepSums sums;
  double mean = 0;
  for (size_t i = 0; i < n; ++i) {
    const double c = change(i), b = static_cast<double>(before[i]);
    sums.change += c * c;
    sums.before += b * b;
    sums.product += c * b;
    mean += c;
  }
  mean /= static_cast<double>(n);
  for (size_t i = 0; i < n; ++i) sums.variance += (change(i) - mean) * (change(i) - mean);
  sums.variance /= static_cast<double>(n);
  return sums;
}

template <class S>
ChangeSums change_sums_ref(const S* after, const S* before, const S* other_after, const S* other_before,
                           size_t n) {
  ChangeSums sums;
  for (size_t i = 0; i < n; ++i) {
    const double c = static_cast<double>(after[i]) - static_cast<double>(before[i]);
    const double o = static_cast<double>(other_after[i]) - static_cast<double>(other_before[i]);
    sums.change += c * c;
    sums.difference += (c - o) * (c - o);
  }
  return sums;
}

void add_products_ref(double* out, size_t ld, const double* a, const double* b, size_t rows, size_t M,
                      size_t N, bool lower) {
  for (size_t i = 0; i < M; ++i) {
    const size_t n = lower && i < N ? i + 1 : N;
    for (size_t j = 0; j < n; ++j) {
      double sum = 0;
      for (size_t r = 0; r < rows; ++r) sum += a[r * M + i] * b[r * N + j];
      out[i * ld + j] += sum;
    }
  }
}

template double dot_ref(const double*, const double*, size_t);
template double dot_ref(const float*, const float*, size_t);
template double variance_ref(const double*, size_t);
template double variance_ref(const float*, size_t);
template StepSums step_sums_ref(const double*, const double*, size_t);
template StepSums step_sums_ref(const float*, const float*, size_t);
template ChangeSums change_sums_ref(const double*, const double*, const double*, const double*, size_t);
template ChangeSums change_sums_ref(const float*, const float*, const float*, const float*, size_t);

}  // namespace fathom
