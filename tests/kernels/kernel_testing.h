#pragma once
// What the kernel tests share: random inputs, comparisons that fail on NaN, loops over instruction sets and
// thread counts, finite differences.

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/rng.h"
#include "core/threads.h"
#include "core/types.h"
#include "kernels/isa.h"

namespace fathom::testing {

/// fp32's unit roundoff: the largest relative error of one rounding.
constexpr double kFloatUnit = 0x1p-24;
/// One step of bf16, relative: two values that differ by nearly nothing may round to neighbours.
constexpr double kBf16Step = 0x1p-7;
/// The relative difference that storing in type W alone can make between two nearly equal values.
template <class W>
constexpr double storage_step() {
  return std::is_same_v<W, bf16> ? kBf16Step : 0.0;
}

/// Sizes around the vector widths (8 and 16 lanes), their multiples, and one that needs many vectors.
inline const std::vector<size_t>& odd_sizes() {
  static const std::vector<size_t> sizes{1, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 513};
  return sizes;
}

/// n normal values of standard deviation `scale`, rounded to W.
template <class W>
std::vector<W> random_values(size_t n, uint64_t seed, double scale = 1.0) {
  Rng rng(seed);
  std::vector<W> values(n);
  for (W& v : values) v = W(static_cast<Stream<W>>(scale * rng.normal()));
  return values;
}

template <class W>
std::vector<double> to_double(const std::vector<W>& values) {
  std::vector<double> wide;
  for (const W& v : values) wide.push_back(static_cast<double>(v));
  return wide;
}

enum class Nan { kFails, kEqualsNan };

/// Whether |actual - expected| <= relative * |expected| + absolute. An infinity is only near itself, a NaN
/// near nothing, or near another where `nan` says so.
inline bool is_close(double actual, double expected, double relative, double absolute,
                     Nan nan = Nan::kFails) {
  if (std::isnan(expected)) return nan == Nan::kEqualsNan && std::isnan(actual);
  if (std::isinf(expected)) return actual == expected;
  return std::abs(actual - expected) <= relative * std::abs(expected) + absolute;
}

/// is_close for every element.
template <class A, class E>
void expect_close(const std::vector<A>& actual, const std::vector<E>& expected, double relative,
                  double absolute, const std::string& what, Nan nan = Nan::kFails) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double a = static_cast<double>(actual[i]), e = static_cast<double>(expected[i]);
    ASSERT_TRUE(is_close(a, e, relative, absolute, nan))
        << what << "[" << i << "] = " << a << ", expected " << e << ", allowed "
        << relative * std::abs(e) + absolute;
  }
}

/// NaNs whose payloads are not those of quiet_NaN(): of the lowest bit, of all bits, and negative.
inline std::vector<float> odd_nans() {
  std::vector<float> nans;
  for (const uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xffffffffu})
    nans.push_back(std::bit_cast<float>(bits));
  return nans;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(static_cast<const void*>(a.data()), static_cast<const void*>(b.data()),
                                   a.size() * sizeof(T)) == 0);
}

/// Calls fn with each instruction set of this machine in force, and restores the one that was.
template <class Fn>
void for_each_isa(const Fn& fn) {
  const Isa before = active_isa();
  for (Isa isa : available_isas()) {
    SCOPED_TRACE(std::string(isa_name(isa)));
    set_active_isa(isa);
    fn();
  }
  set_active_isa(before);
}

/// `result()` (a vector) must have the same bits with 1, 2 and 3 threads, on every instruction set.
template <class Fn>
void expect_same_bits_for_any_threads(const Fn& result) {
  for_each_isa([&] {
    set_num_threads(1);
    const auto expected = result();
    for (size_t threads : {2u, 3u}) {
      set_num_threads(threads);
      EXPECT_TRUE(same_bits(result(), expected)) << threads << " threads";
    }
    set_num_threads(0);
  });
}

/// The sum of weights[i] * values[i]: the scalar "loss" whose gradient with respect to `values` is `weights`.
template <class T>
double weighted_sum(const std::vector<T>& values, const std::vector<T>& weights) {
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i)
    sum += static_cast<double>(values[i]) * static_cast<double>(weights[i]);
  return sum;
}

/// Holds `gradient` to central differences of loss() with respect to each element of x, in double. With step
/// h = 1e-5 the truncation is some h^2 = 1e-10 of the third derivative and the rounding 1e-16 / h = 1e-11 of
/// the loss; 1e-7 of the largest gradient leaves room for losses and derivatives in the hundreds.
template <class Loss>
void expect_finite_differences(std::vector<double>& x, const std::vector<double>& gradient, const Loss& loss,
                               const std::string& what) {
  ASSERT_EQ(x.size(), gradient.size()) << what;
  constexpr double h = 1e-5;
  double largest = 1e-3;
  for (double g : gradient) largest = std::max(largest, std::abs(g));
  for (size_t i = 0; i < x.size(); ++i) {
    const double kept = x[i];
    x[i] = kept + h;
    const double up = loss();
    x[i] = kept - h;
    const double down = loss();
    x[i] = kept;
    const double slope = (up - down) / (2 * h);
    ASSERT_TRUE(std::abs(slope - gradient[i]) <= 1e-7 * largest)
        << what << "[" << i << "] = " << gradient[i] << ", finite difference " << slope;
  }
}

}  // namespace fathom::testing
