#pragma once
// Sums in double over vectors of the stream: what metrics of depth are made of. Products of two floats are
// exact in double.

#include <cstddef>

namespace fathom {

/// Sum of a b (n). The same order of additions whatever a and b are: dot(x, y) is dot(x, x) exactly where y
/// equals x.
template <class S>
double dot(const S* a, const S* b, size_t n);

/// Population variance of x (n), by its mean first.
template <class S>
double variance(const S* x, size_t n);

/// Of a change c = after - before (n) to `before`: sums of c^2, before^2 and c before, each in the same order
/// of additions, and the variance of c.
struct StepSums {
  double change = 0, before = 0, product = 0, variance = 0;
};
template <class S>
StepSums step_sums(const S* after, const S* before, size_t n);

/// Sums over a change c = after - before and another o = other_after - other_before (n each), all in double:
/// of c^2 and of (c - o)^2.
struct ChangeSums {
  double change = 0, difference = 0;
};
template <class S>
ChangeSums change_sums(const S* after, const S* before, const S* other_after, const S* other_before,
                       size_t n);

/// out (M, N), rows `ld` apart, += a^T b, a (rows, M) and b (rows, N) side by side in memory. Where
/// `lower` is set (a and b the same), only the elements on and below the diagonal are sure to be added. Rows
/// are added in order, blocks of them at a time: the same bits whatever the number of threads.
void add_products(double* out, size_t ld, const double* a, const double* b, size_t rows, size_t M, size_t N,
                  bool lower = false);

// The same by plain loops.
template <class S>
double dot_ref(const S* a, const S* b, size_t n);
template <class S>
double variance_ref(const S* x, size_t n);
template <class S>
StepSums step_sums_ref(const S* after, const S* before, size_t n);
template <class S>
ChangeSums change_sums_ref(const S* after, const S* before, const S* other_after, const S* other_before,
                           size_t n);
void add_products_ref(double* out, size_t ld, const double* a, const double* b, size_t rows, size_t M,
                      size_t N, bool lower = false);

}  // namespace fathom
