// The fast products against the plain reference: sizes around every vector width and block border, all
// transposes and types, on each instruction set that the machine has.

#include "kernels/gemm.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/rng.h"
#include "core/threads.h"
#include "kernels/isa.h"

namespace fathom {
namespace {

constexpr double kFloatEps = 0x1p-23, kBf16Eps = 0x1p-7;  // from 1 to the next number
constexpr size_t kGap = 3;  // columns between the end of a row and the next: ld > cols

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

Addend addend_of(const Case& s, const Matrix& other, const Matrix& c) {
  if (s.addend == AddendKind::kNone) return {};
  const Matrix& m = s.addend == AddendKind::kSelf ? c : other;
  return {m.data(), m.ld(), 0.5};
}

/// Float sums of K products of numbers up to 1 err by about eps * K / 3 (random walk of rounding errors on
/// partial sums of size sqrt(K) / 3), here with room for the largest of many. Two bf16 results whose sums lie
/// on two sides of a tie are neighbours.
double tolerance(const Case& s, double expected) {
  const double sum = kFloatEps * (static_cast<double>(s.K) + 8.0);
  return s.c == DType::kBf16 ? sum + kBf16Eps * std::fabs(expected) : sum;
}

/// Runs one case and compares each element, and the gaps, with the reference.
void check(const Case& s) {
  const uint64_t seed = s.M * 1000003 + s.N * 1009 + s.K;
  const Matrix a(s.ta ? s.K : s.M, s.ta ? s.M : s.K, s.a, seed);
  const Matrix b(s.tb ? s.N : s.K, s.tb ? s.K : s.N, s.b, seed + 1);
  const Matrix other(s.M, s.N, s.c, seed + 2);
  const Matrix before(s.M, s.N, s.c, seed + 3);
  Matrix expected = before, got = before;
  gemm_ref(s.M, s.N, s.K, a.in(s.ta), b.in(s.tb), expected.out(), s.compute, addend_of(s, other, expected));
  gemm(s.M, s.N, s.K, a.in(s.ta), b.in(s.tb), got.out(), s.compute, addend_of(s, other, got));
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
Case draw(size_t M, size_t N, size_t K, bool ta, bool tb, uint64_t pick) {
  Rng rng(pick);
  const auto type = [&] { return rng.below(2) == 0 ? DType::kF32 : DType::kBf16; };
  Case s{M, N, K, ta, tb, type(), type(), type(), type(), AddendKind::kNone};
  s.addend = static_cast<AddendKind>(rng.below(3));
  return s;
}

void sweep(const std::vector<std::vector<size_t>>& sizes, int draws) {
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

/// What runs the products: an instruction set, and whether bf16 goes through oneDNN.
struct Way {
  Isa isa;
  GemmBackend backend;
};

std::vector<Way> ways() {
  std::vector<Way> all;
  for (Isa isa : available_isas()) {
    all.push_back({isa, GemmBackend::kOwn});
    if (isa >= Isa::kAvx512Bf16) all.push_back({isa, GemmBackend::kOneDnn});
  }
  return all;
}

/// Sets the way, and puts what it was, and the number of threads, back.
class Gemm : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    set_active_isa(GetParam().isa);
    set_gemm_backend(GetParam().backend);
  }
  void TearDown() override {
    set_active_isa(before_.isa);
    set_gemm_backend(before_.backend);
    set_num_threads(threads_);
  }

 private:
  Way before_{active_isa(), gemm_backend()};
  size_t threads_ = num_threads();
};

TEST_P(Gemm, MatchesReferenceAroundVectorWidths) {
  std::vector<std::vector<size_t>> sizes;
  for (size_t n = 1; n <= 35; ++n) {
    sizes.push_back({n, 13, 9});
    sizes.push_back({5, n, 10});
    sizes.push_back({11, 18, n});
  }
  for (size_t n : {47, 48, 49, 63, 64, 65, 95, 96, 97, 127, 128, 129}) {
    sizes.push_back({n, 17, 6});
    sizes.push_back({9, n, 7});
    sizes.push_back({7, 50, n});
  }
  sweep(sizes, 2);
}

TEST_P(Gemm, MatchesReferenceAcrossBlocks) {
  // Block depths are 256 units of K, 256 or 512 elements, packed 1024 units at a time; tiles are up to 96 x
  // 1024.
  sweep({{20, 33, 255},
         {20, 33, 257},
         {9, 20, 511},
         {9, 20, 512},
         {9, 20, 513},
         {100, 50, 513},
         {257, 129, 65},
         {6, 1100, 530},
         {194, 60, 300},
         {33, 49, 1025},
         {7, 9, 2049},
         {13, 50, 4100}},
        2);
}

TEST_P(Gemm, MatchesReferenceForFewRows) {
  for (size_t M = 1; M <= 5; ++M)
    sweep({{M, 1, 1}, {M, 3, 40}, {M, 259, 65}, {M, 600, 100}, {M, 70, 2050}}, 3);
}

TEST_P(Gemm, WithoutProductsGivesTheAddend) {
  for (DType c : {DType::kF32, DType::kBf16}) {
    for (AddendKind kind : {AddendKind::kNone, AddendKind::kOther, AddendKind::kSelf})
      check({5, 7, 0, false, true, DType::kF32, DType::kF32, c, DType::kF32, kind});
  }
  check({0, 7, 5, false, false, DType::kF32, DType::kF32, DType::kF32, DType::kF32, AddendKind::kNone});
  check({7, 0, 5, false, false, DType::kF32, DType::kF32, DType::kF32, DType::kF32, AddendKind::kNone});
}

TEST_P(Gemm, DoublePrecisionIsTheReference) {
  check({9, 10, 11, true, true, DType::kF64, DType::kF64, DType::kF64, DType::kF64, AddendKind::kSelf});
}

TEST_P(Gemm, Bf16ComputeRoundsFloatOperands) {
  // 1 + 2^-10 rounds to 1: the product of K such numbers tells rounded operands from others.
  const size_t n = 40;
  for (size_t M : {size_t{1}, n}) {
    Matrix a(M, n, DType::kF32, 1), b(n, n, DType::kF32, 2), c(M, n, DType::kF32, 3);
    for (size_t i = 0; i < M * a.ld(); ++i) a.set(i, 1.0 + 0x1p-10);
    for (size_t i = 0; i < n * b.ld(); ++i) b.set(i, 1.0 + 0x1p-10);
    for (bool transposed : {false, true}) {
      gemm(M, n, n, a.in(false), b.in(transposed), c.out(), DType::kBf16);
      EXPECT_EQ(c.at(0, 0), static_cast<double>(n));
      gemm(M, n, n, a.in(false), b.in(transposed), c.out(), DType::kF32);
      EXPECT_GT(c.at(0, 0), static_cast<double>(n) + 0.05);
    }
  }
}

TEST_P(Gemm, NanAndInfinityReachTheirRowAndColumnOnly) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  for (Compute compute : {DType::kF32, DType::kBf16}) {
    for (size_t M : {size_t{3}, size_t{30}}) {
      const size_t N = 50, K = 37;
      Matrix a(M, K, compute, 1), b(N, K, compute, 2), c(M, N, compute, 3);
      a.set(2 * a.ld() + K - 1, nan);
      b.set(4 * b.ld() + 0, inf);
      gemm(M, N, K, a.in(false), b.in(true), c.out(), compute);
      for (size_t i = 0; i < M; ++i) {
        for (size_t j = 0; j < N; ++j) {
          EXPECT_EQ(std::isnan(c.at(i, j)), i == 2) << i << "," << j;
          EXPECT_EQ(std::isinf(c.at(i, j)), i != 2 && j == 4) << i << "," << j;
        }
      }
    }
  }
}

TEST_P(Gemm, HasTheSameBitsWhateverTheThreads) {
  for (const Case& s : {Case{192, 192, 2100, true, false, DType::kBf16, DType::kBf16, DType::kF32,
                             DType::kBf16, AddendKind::kSelf},
                        Case{300, 200, 700, false, true, DType::kBf16, DType::kBf16, DType::kBf16,
                             DType::kBf16, AddendKind::kNone},
                        Case{30, 500, 520, false, true, DType::kF32, DType::kF32, DType::kF32, DType::kF32,
                             AddendKind::kOther},
                        Case{1, 900, 300, false, true, DType::kF32, DType::kBf16, DType::kF32, DType::kBf16,
                             AddendKind::kNone}}) {
    const Matrix a(s.ta ? s.K : s.M, s.ta ? s.M : s.K, s.a, 1), b(s.tb ? s.N : s.K, s.tb ? s.K : s.N, s.b, 2);
    const Matrix start(s.M, s.N, s.c, 3), other(s.M, s.N, s.c, 4);
    std::vector<std::byte> first;
    for (size_t threads : {1, 2, 3}) {
      set_num_threads(threads);
      Matrix c = start;
      gemm(s.M, s.N, s.K, a.in(s.ta), b.in(s.tb), c.out(), s.compute, addend_of(s, other, c));
      if (threads == 1) first = c.bytes();
      EXPECT_EQ(c.bytes(), first) << s.name() << " on " << threads << " threads";
    }
  }
}

TEST_P(Gemm, WorksInsideParallelWork) {
  set_num_threads(2);
  const Matrix a(20, 30, DType::kF32, 1), b(40, 30, DType::kF32, 2);
  std::vector<Matrix> results(6, Matrix(20, 40, DType::kF32, 3));
  parallel_for(results.size(),
               [&](size_t i) { gemm(20, 40, 30, a.in(false), b.in(true), results[i].out(), DType::kF32); });
  for (const Matrix& r : results) EXPECT_EQ(r.bytes(), results[0].bytes());
}

INSTANTIATE_TEST_SUITE_P(Ways, Gemm, ::testing::ValuesIn(ways()), [](const auto& info) {
  return std::string(isa_name(info.param.isa)) +
         (info.param.backend == GemmBackend::kOneDnn ? "_onednn" : "");
});

}  // namespace
}  // namespace fathom
