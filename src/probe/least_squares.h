#pragma once
// The linear map that takes one stream to another best.

#include <cstddef>
#include <vector>

#include "model/transformer.h"

namespace fathom {

/// Sums for the least squares of y on x, both (rows, C), in double: x is followed by a column of ones. Of the
/// symmetric x^T x the lower half alone is kept.
class NormalEquations {
 public:
  explicit NormalEquations(size_t C);
  static constexpr size_t bytes(size_t C) { return ((C + 1) * (C + 1) + (C + 1) * C) * sizeof(double); }

  /// The given rows of x and y, in blocks of 64: the same calls in the same order give the same bits.
  template <class S>
  void add(const S* x, const S* y, const std::vector<size_t>& rows);

  /// The map, by Cholesky's decomposition, which takes the place of the sums: to be called once. A stream
  /// that leaves some directions unused (fewer tokens than it seems, or a planted model) has a singular
  /// matrix: those directions get nothing.
  template <class S>
  LinearMap<S> solve();

 private:
  template <class Factor>
  void substitute(size_t i, size_t begin, size_t end, const Factor& factor, size_t first, size_t last);

  size_t C_;
  std::vector<double> xx_, xy_;
};

}  // namespace fathom
