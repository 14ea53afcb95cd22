#include "probe/least_squares.h"

#include <algorithm>
#include <cmath>

#include "core/threads.h"
#include "kernels/double_sums.h"

namespace fathom {

NormalEquations::NormalEquations(size_t C) : C_(C), xx_((C + 1) * (C + 1)), xy_((C + 1) * C) {}

// Columns [begin, end) of row i: (row - sum of factor(k) times row k) / diagonal.
template <class Factor>
void NormalEquations::substitute(size_t i, size_t begin, size_t end, const Factor& factor, size_t first,
                                 size_t last) {
  const double diagonal = xx_[i * (C_ + 1) + i];
  double* row = xy_.data() + i * C_;
  for (size_t k = first; k < last; ++k) {
    const double f = factor(k);
    for (size_t j = begin; j < end; ++j) row[j] -= f * xy_[k * C_ + j];
  }
  for (size_t j = begin; j < end; ++j) row[j] = diagonal == 0 ? 0.0 : row[j] / diagonal;
}

template <class S>
void NormalEquations::add(const S* x, const S* y, const std::vector<size_t>& rows) {
  constexpr size_t kBlock = 64;  // rows whose doubles stay in the cache while they are multiplied
  const size_t wide = C_ + 1;
  std::vector<double> xs(kBlock * wide), ys(kBlock * C_);
  for (size_t begin = 0; begin < rows.size(); begin += kBlock) {
    const size_t n = std::min(kBlock, rows.size() - begin);
    for (size_t i = 0; i < n; ++i) {
      const size_t r = rows[begin + i];
      std::copy_n(x + r * C_, C_, xs.data() + i * wide);
      xs[i * wide + C_] = 1.0;
      std::copy_n(y + r * C_, C_, ys.data() + i * C_);
    }
    add_products(xx_.data(), wide, xs.data(), xs.data(), n, wide, wide, /*lower=*/true);
    add_products(xy_.data(), C_, xs.data(), ys.data(), n, wide, C_);
  }
}

template <class S>
LinearMap<S> NormalEquations::solve() {
  const size_t n = C_ + 1;
  double largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, xx_[i * n + i]);
  const double least = largest * 1e-13;
  for (size_t i = 0; i < n; ++i) {
    double pivot = xx_[i * n + i];
    for (size_t k = 0; k < i; ++k) pivot -= xx_[i * n + k] * xx_[i * n + k];
    const bool unused = !(pivot > least);
    const double root = unused ? 0.0 : std::sqrt(pivot);
    xx_[i * n + i] = root;
    parallel_ranges(n - i - 1, 64, [&](size_t begin, size_t end) {
      for (size_t r = i + 1 + begin; r < i + 1 + end; ++r) {
        double sum = xx_[r * n + i];
        for (size_t k = 0; k < i; ++k) sum -= xx_[r * n + k] * xx_[i * n + k];
        xx_[r * n + i] = unused ? 0.0 : sum / root;
      }
    });
  }
  // Each range of columns goes through the whole matrix, half of the way across its lines: so few ranges,
  // and each narrow enough for L2.
  parallel_ranges(C_, 96, [&](size_t begin, size_t end) {
    for (size_t i = 0; i < n; ++i)
      substitute(
          i, begin, end, [&](size_t k) { return xx_[i * n + k]; }, 0, i);
    for (size_t i = n; i-- > 0;)
      substitute(
          i, begin, end, [&](size_t k) { return xx_[k * n + i]; }, i + 1, n);
  });
  LinearMap<S> map;
  map.A.assign(xy_.begin(), xy_.begin() + static_cast<ptrdiff_t>(C_ * C_));
  map.b.assign(xy_.begin() + static_cast<ptrdiff_t>(C_ * C_), xy_.end());
  return map;
}

template void NormalEquations::add<double>(const double*, const double*, const std::vector<size_t>&);
template void NormalEquations::add<float>(const float*, const float*, const std::vector<size_t>&);
template LinearMap<double> NormalEquations::solve<double>();
template LinearMap<float> NormalEquations::solve<float>();

}  // namespace fathom
