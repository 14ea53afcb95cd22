// The fast products against the plain reference: sizes around every vector width and block border, all
// transposes and types, on each instruction set that the machine has.

#include "kernels/gemm.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/threads.h"
#include "kernels/gemm_testing.h"
#include "kernels/isa.h"

namespace fathom {
namespace {

using namespace gemm_testing;

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
  // Blocks are up to 512 units of K deep, 512 or 1024 elements, packed 1024 units at a time; tiles are up to
  // 96 x 1024.
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

TEST_P(Gemm, MatchesReferenceWhereBIsPackedInParts) {
  // At once 2 Mi units of B, more than two thousand columns of 1024 units; a bf16 C has all of K packed.
  const DType f = DType::kF32, h = DType::kBf16;
  check({9, 2100, 1030, false, true, f, f, f, f, AddendKind::kSelf});
  check({9, 2100, 2060, true, false, h, h, f, h, AddendKind::kOther});
  check({7, 1100, 4100, false, false, h, h, h, h, AddendKind::kSelf});
  check({7, 600, 4100, false, true, h, f, h, f, AddendKind::kNone});
}

TEST_P(Gemm, MatchesReferenceWhereAIsPackedInParts) {
  // An A whose lines run across K, as a weight gradient has it, beside B once for each of its parts.
  const DType f = DType::kF32, h = DType::kBf16;
  check({2100, 50, 1030, true, false, f, f, f, f, AddendKind::kSelf});
  check({2100, 9, 2070, true, true, h, h, f, h, AddendKind::kOther});
  check({1100, 7, 4100, true, false, f, h, h, h, AddendKind::kNone});
  check({2060, 2100, 1030, true, false, h, h, f, h, AddendKind::kNone});
}

TEST_P(Gemm, MatchesReferenceForFewRows) {
  for (size_t M = 1; M <= 5; ++M)
    sweep({{M, 1, 1}, {M, 3, 40}, {M, 259, 65}, {M, 600, 100}, {M, 70, 2050}}, 3);
}

// What all others are held to, by hand: a (2,3) b (3,2) + 0.5 addend, for each transpose, with gaps.
TEST(GemmRef, IsTheProductOfItsDefinition) {
  const double a[2][3] = {{1, 2, 3}, {4, 5, 6}}, b[3][2] = {{7, -8}, {9, 10}, {-11, 12}};
  // 7 + 18 - 33 = -8, -8 + 20 + 36 = 48; 28 + 45 - 66 = 7, -32 + 50 + 72 = 90.
  const double addend[2][2] = {{100, 20}, {-6, 1}}, expected[2][2] = {{42, 58}, {4, 90.5}};
  for (const DType type : {DType::kF64, DType::kF32, DType::kBf16}) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        Matrix A(ta ? 3 : 2, ta ? 2 : 3, type, 1), B(tb ? 2 : 3, tb ? 3 : 2, type, 2), other(2, 2, type, 3),
            c(2, 2, type, 4);
        for (size_t i = 0; i < 2; ++i) {
          for (size_t k = 0; k < 3; ++k) {
            A.set(ta ? k * A.ld() + i : i * A.ld() + k, a[i][k]);
            B.set(tb ? i * B.ld() + k : k * B.ld() + i, b[k][i]);
          }
          for (size_t j = 0; j < 2; ++j) other.set(i * other.ld() + j, addend[i][j]);
        }
        const Matrix before = c;
        gemm_ref(2, 2, 3, A.in(ta), B.in(tb), c.out(), type, {other.data(), other.ld(), 0.5});
        for (size_t i = 0; i < 2; ++i) {
          for (size_t j = 0; j < 2; ++j)
            EXPECT_EQ(c.at(i, j), expected[i][j]) << dtype_name(type) << ta << tb;
          for (size_t j = 2; j < c.ld(); ++j) EXPECT_EQ(c.at(i, j), before.at(i, j));
        }
        gemm_ref(2, 2, 3, A.in(ta), B.in(tb), c.out(), type);
        EXPECT_EQ(c.at(0, 0), -8);
        EXPECT_EQ(c.at(1, 1), 90);
      }
    }
  }
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
    for (size_t threads : {1, 2, 3, 16, 64}) {
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
