#pragma once
// What the tests of matrix products share: operands of any type with gaps between their rows, cases, and the
// comparison with the plain reference.

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/rng.h"
#include "kernels/gemm.h"

namespace fathom::gemm_testing {

inline constexpr double kFloatEps = 0x1p-23, kBf16Eps = 0x1p-7;  // from 1 to the next number
inline constexpr size_t kGap = 3;  // columns between the end of a row and the next: ld > cols

/// A matrix of any type, with a gap after each row that products must leave alone, at an address that is
/// aligned to its elements and no more.
class Matrix {
 public:
  Matrix(size_t rows, size_t cols, DType dtype, uint64_t seed)
      : rows_(rows), cols_(cols), dtype_(dtype), bytes_((rows * ld() + 1) * dtype_size(dtype)) {
    Rng rng(seed);
    for (size_t i = 0; i < rows * ld(); ++i) set(i, 2.0 * rng.uniform() - 1.0);
  }

  size_t ld() const { return cols_ + kGap; }
  void* data() { return bytes_.data() + dtype_size(dtype_); }
  const void* data() const { return bytes_.data() + dtype_size(dtype_); }
  DType dtype() const { return dtype_; }
  const std::vector<std::byte>& bytes() const { return bytes_; }

  double get(size_t i) const {
    if (dtype_ == DType::kF64) return element<double>(i);
    if (dtype_ == DType::kF32) return static_cast<double>(element<float>(i));
    return static_cast<double>(element<bf16>(i));
  }
  void set(size_t i, double v) {
    if (dtype_ == DType::kF64) return put(i, v);
    if (dtype_ == DType::kF32) return put(i, static_cast<float>(v));
    put(i, bf16(static_cast<float>(v)));
  }
  double at(size_t row, size_t col) const { return get(row * ld() + col); }

  MatrixIn in(bool transposed) const { return {data(), dtype_, ld(), transposed}; }
  MatrixOut out() { return {data(), dtype_, ld()}; }

 private:
  template <class T>
  T element(size_t i) const {
    T v;
    std::memcpy(&v, static_cast<const std::byte*>(data()) + i * sizeof(T), sizeof(T));
    return v;
  }
  template <class T>
  void put(size_t i, T v) {
    std::memcpy(static_cast<std::byte*>(data()) + i * sizeof(T), &v, sizeof(T));
  }

  size_t rows_, cols_;
  DType dtype_;
  std::vector<std::byte> bytes_;
};

enum class AddendKind { kNone, kOther, kSelf };

struct Case {
  size_t M, N, K;
  bool ta, tb;
  DType a, b, c;
  Compute compute;
  AddendKind addend;

  std::string name() const {
    const char* kinds[] = {"none", "other", "self"};
    return std::to_string(M) + "x" + std::to_string(N) + "x" + std::to_string(K) + (ta ? " a^T" : "") +
           (tb ? " b^T" : "") + " a " + std::string(dtype_name(a)) + " b " + std::string(dtype_name(b)) +
           " c " + std::string(dtype_name(c)) + " compute " + std::string(dtype_name(compute)) + " addend " +
           kinds[static_cast<int>(addend)];
  }
};

inline Addend addend_of(const Case& s, const Matrix& other, const Matrix& c) {
  if (s.addend == AddendKind::kNone) return {};
  const Matrix& m = s.addend == AddendKind::kSelf ? c : other;
  return {m.data(), m.ld(), 0.5};
}

/// Float sums of K products of numbers up to 1 err by about eps * K / 3 (random walk of rounding errors on
/// partial sums of size sqrt(K) / 3), here with room for the largest of many. Two bf16 results whose sums lie
/// on two sides of a tie are neighbours.
inline double tolerance(const Case& s, double expected) {
  const double sum = kFloatEps * (static_cast<double>(s.K) + 8.0);
  return s.c == DType::kBf16 ? sum + kBf16Eps * std::fabs(expected) : sum;
}

/// What is held to gemm_ref: gemm itself, or a part of it that the machine would not choose.
using Product = std::function<decltype(gemm)>;

/// Runs one case and compares each element, and the gaps, with the reference.
inline void check(const Case& s, const Product& product = gemm) {
  const uint64_t seed = s.M * 1000003 + s.N * 1009 + s.K;
  const Matrix a(s.ta ? s.K : s.M, s.ta ? s.M : s.K, s.a, seed);
  const Matrix b(s.tb ? s.N : s.K, s.tb ? s.K : s.N, s.b, seed + 1);
  const Matrix other(s.M, s.N, s.c, seed + 2);
  const Matrix before(s.M, s.N, s.c, seed + 3);
  Matrix expected = before, got = before;
  gemm_ref(s.M, s.N, s.K, a.in(s.ta), b.in(s.tb), expected.out(), s.compute, addend_of(s, other, expected));
  product(s.M, s.N, s.K, a.in(s.ta), b.in(s.tb), got.out(), s.compute, addend_of(s, other, got));
  for (size_t i = 0; i < s.M; ++i) {
    for (size_t j = 0; j < s.N; ++j) {
      const double e = expected.at(i, j), g = got.at(i, j);
      ASSERT_TRUE(std::fabs(e - g) <= tolerance(s, e))
          << s.name() << " at " << i << "," << j << ": " << g << " instead of " << e;
    }
    for (size_t j = s.N; j < s.N + kGap; ++j)
      ASSERT_EQ(got.at(i, j), before.at(i, j)) << s.name() << " wrote past row " << i;
  }
}

/// The rest of a case (types, addend, precision) drawn by `pick`, so that a sweep of sizes meets all of them.
inline Case draw(size_t M, size_t N, size_t K, bool ta, bool tb, uint64_t pick) {
  Rng rng(pick);
  const auto type = [&] { return rng.below(2) == 0 ? DType::kF32 : DType::kBf16; };
  Case s{M, N, K, ta, tb, type(), type(), type(), type(), AddendKind::kNone};
  s.addend = static_cast<AddendKind>(rng.below(3));
  return s;
}

inline void sweep(const std::vector<std::vector<size_t>>& sizes, int draws) {
  uint64_t pick = 0;
  for (const auto& mnk : sizes) {
    for (int transposes = 0; transposes < 4; ++transposes) {
      for (int d = 0; d < draws; ++d) {
        check(draw(mnk[0], mnk[1], mnk[2], (transposes & 1) != 0, (transposes & 2) != 0, ++pick));
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace fathom::gemm_testing
