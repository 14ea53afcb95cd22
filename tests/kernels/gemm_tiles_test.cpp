// The product on AMX tiles: on emulated ones on every machine, with plain and with AVX-512 packing, and on
// the real ones where the machine has them.

#include "kernels/gemm_tiles.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "core/buffer.h"
#include "core/log.h"
#include "core/threads.h"
#include "kernels/attention_tiles.h"
#include "kernels/gemm_testing.h"
#include "kernels/gemm_tiles_testing.h"
#include "kernels/isa.h"
#include "kernels/tile_trust.h"
#include "support/expect_error.h"

namespace fathom {
namespace {

using namespace gemm_detail;
using namespace gemm_testing;

class GemmTiles : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (!has(needed(GetParam()))) GTEST_SKIP() << "this machine lacks " << isa_name(needed(GetParam()));
    kernels_ = kernels_of(GetParam());
  }
  void TearDown() override { set_num_threads(threads_); }

  Product product() const {
    return [this](size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c, Compute, Addend addend) {
      multiply_on_tiles(kernels_, M, N, K, a, b, c, addend);
    };
  }

  /// The product with the second operand packed before.
  Product packed_product() const {
    return [this](size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c, Compute, Addend addend) {
      Buffer<uint32_t> packed(packed_tile_units(K, N));
      pack_for_tiles(kernels_.packing, packed.data(), K, N, b);
      b.packed = packed.data();
      b.data = nullptr;  // not read any more
      multiply_on_tiles(kernels_, M, N, K, a, b, c, addend);
    };
  }

  /// All transposes, each with types and addends drawn `draws` times.
  void sweep_bf16(const std::vector<std::vector<size_t>>& sizes, int draws) {
    uint64_t pick = 0;
    for (const auto& mnk : sizes) {
      for (int i = 0; i < 4 * draws; ++i) {
        Case s = draw(mnk[0], mnk[1], mnk[2], (i & 1) != 0, (i & 2) != 0, ++pick);
        s.compute = DType::kBf16;
        check(s, product());
        if (HasFatalFailure()) return;
      }
    }
  }

  TileKernels kernels_{};

 private:
  size_t threads_ = num_threads();
};

TEST_P(GemmTiles, MatchesReferenceAroundTheSizeOfATile) {
  std::vector<std::vector<size_t>> sizes;
  for (size_t n : {1, 2, 3, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65}) {
    sizes.push_back({n, 5, 3});
    sizes.push_back({3, n, 7});
    sizes.push_back({7, 18, n});
    sizes.push_back({n, n, 33});
  }
  sweep_bf16(sizes, 3);
}

TEST_P(GemmTiles, MatchesReferenceAcrossBlocks) {
  // Blocks of K are up to 512 deep, 2048 packed at once for a float C, or gone through at once for a bf16
  // one; strips go together by four, 128 rows; panels are packed by eight, 256 columns.
  sweep_bf16({{20, 33, 511}, {20, 33, 512}, {20, 33, 513}, {65, 40, 1030}, {5, 20, 2047}, {5, 40, 2049}}, 3);
  sweep_bf16({{35, 17, 4200}, {150, 40, 2100}, {261, 40, 40}, {33, 780, 70}, {300, 270, 300}}, 1);
}

TEST_P(GemmTiles, MatchesReferenceWhereBIsPackedInParts) {
  // Room for one panel of this depth, two, or all but a part of the last.
  const DType f = DType::kF32, h = DType::kBf16;
  for (const size_t columns : {32, 64, 96}) {
    for (const Case& s : {Case{37, 101, 70, false, true, h, h, h, h, AddendKind::kOther},
                          Case{37, 101, 70, true, false, f, f, f, h, AddendKind::kSelf},
                          Case{5, 101, 2100, false, true, h, h, f, h, AddendKind::kOther},
                          Case{5, 101, 2100, true, false, h, h, h, h, AddendKind::kSelf}}) {
      // A float C has its depth packed in two parts from 2048 on.
      const size_t depth = s.c == f && s.K > 2048 ? 1536 : s.K;
      kernels_.packed_bytes = 2 * columns * depth;
      check(s, product());
      if (HasFatalFailure()) return;
    }
  }
}

// Stores of a product, without its sums.
size_t stores = 0, streams = 0;
void hand_over_alone(const TileBlock&, Pending& other) {
  if (other.rows > 0) other.hand_over(other.rows);
}
void no_product(const TileBlock&) {}
void count_store(const float*, size_t, size_t, const Store&) { ++stores; }
void count_stream(const float*, size_t, size_t, const Store&) { ++streams; }

TEST(GemmTilesStores, GoPastTheCachesOnceAndForLargeResultsOnly) {
  TileKernels kernels = emulated_tile_kernels(plain_tile_packing());
  kernels.multiply = hand_over_alone;
  kernels.multiply_and_ask = no_product;
  kernels.packing.store = count_store;
  kernels.packing.stream = count_stream;
  constexpr size_t kM = 264, kN = 1024, kBlocks = 9 * 32;  // floats: more than a mebibyte; bf16: less
  const auto run = [&](size_t M, size_t K, DType c, bool adds) {
    const Buffer<bf16> a(M * K), b(kN * K);
    Buffer<float> out(M * kN);
    stores = streams = 0;
    set_num_threads(1);
    multiply_on_tiles(kernels, M, kN, K, {a.data(), DType::kBf16, K}, {b.data(), DType::kBf16, K, true},
                      {out.data(), c, kN}, adds ? Addend{out.data(), kN} : Addend{});
    set_num_threads(0);
  };
  run(kM, 70, DType::kF32, false);
  EXPECT_EQ(streams, kBlocks);
  EXPECT_EQ(stores, 0u);
  run(kM, 70, DType::kF32, true);
  EXPECT_EQ(streams, 0u);
  EXPECT_EQ(stores, kBlocks);
  run(kM, 70, DType::kBf16, false);
  EXPECT_EQ(streams, 0u);
  run(kM, 2100, DType::kF32, false);  // partial sums are read back
  EXPECT_EQ(streams, 0u);
  EXPECT_EQ(stores, 2 * kBlocks);
  run(3 * kM, 2100, DType::kBf16, false);  // and stay beside the tile here
  EXPECT_GT(streams, 0u);
  EXPECT_EQ(stores, 0u);
}

// What is larger than a mebibyte goes past the caches: with the same bits as two halves, which do not.
TEST_P(GemmTiles, LargeResultsHaveTheBitsOfTheirHalves) {
  constexpr size_t kHalf = 264, kN = 1024;
  const auto check_depth = [&](size_t kK) {
    const Matrix a(2 * kHalf, kK, DType::kBf16, 1), b(kN, kK, DType::kBf16, 2);
    const auto compare = [&]<class T>(T) {
      Buffer<T> whole(2 * kHalf * kN), halves(2 * kHalf * kN);
      multiply_on_tiles(kernels_, 2 * kHalf, kN, kK, a.in(false), b.in(true),
                        {whole.data(), dtype_of<T>(), kN}, {});
      for (const size_t row : {size_t{0}, kHalf}) {
        MatrixIn rows = a.in(false);
        rows.data = static_cast<const bf16*>(rows.data) + row * rows.ld;
        multiply_on_tiles(kernels_, kHalf, kN / 2, kK, rows, b.in(true),
                          {halves.data() + row * kN, dtype_of<T>(), kN}, {});
        MatrixIn columns = b.in(true);
        columns.data = static_cast<const bf16*>(columns.data) + kN / 2 * columns.ld;
        multiply_on_tiles(kernels_, kHalf, kN / 2, kK, rows, columns,
                          {halves.data() + row * kN + kN / 2, dtype_of<T>(), kN}, {});
      }
      EXPECT_EQ(std::memcmp(whole.data(), halves.data(), whole.size() * sizeof(T)), 0);
    };
    compare(bf16());
    compare(0.0f);
  };
  check_depth(70);
  if (GetParam() == Way::kAmx) check_depth(2100);  // partial sums in C; too long for emulated tiles
}

TEST_P(GemmTiles, MatchesReferenceInTheThreeProductsOfALayer) {
  const DType f = DType::kF32, h = DType::kBf16;
  for (size_t threads : {1, 3}) {
    set_num_threads(threads);
    const size_t rows = 129, in = 95, out = 161;
    check({rows, out, in, false, true, h, h, h, h, AddendKind::kNone}, product());
    check({rows, out, in, false, true, h, h, f, h, AddendKind::kOther}, product());
    check({rows, in, out, false, false, h, h, h, h, AddendKind::kNone}, product());
    check({out, in, rows, true, false, h, h, f, h, AddendKind::kSelf}, product());
    check({out, in, rows, true, false, f, f, f, h, AddendKind::kSelf}, product());
  }
}

TEST_P(GemmTiles, APackedOperandGivesTheSameBits) {
  uint64_t pick = 0;
  // Columns and depths that do not fill tiles; partial sums in C from 2048 on; more threads than one.
  for (const auto& mnk : std::vector<std::vector<size_t>>{
           {9, 31, 33}, {70, 65, 97}, {40, 33, 2049}, {33, 100, 2100}, {130, 300, 40}}) {
    for (int i = 0; i < 8; ++i) {
      Case s = draw(mnk[0], mnk[1], mnk[2], (i & 1) != 0, (i & 2) != 0, ++pick);
      s.compute = DType::kBf16;
      const Matrix a(s.ta ? s.K : s.M, s.ta ? s.M : s.K, s.a, 1),
          b(s.tb ? s.N : s.K, s.tb ? s.K : s.N, s.b, 2);
      const Matrix other(s.M, s.N, s.c, 4);
      Matrix c(s.M, s.N, s.c, 3), from_packed(s.M, s.N, s.c, 3);
      set_num_threads(i % 3 + 1);
      product()(s.M, s.N, s.K, a.in(s.ta), b.in(s.tb), c.out(), s.compute, addend_of(s, other, c));
      packed_product()(s.M, s.N, s.K, a.in(s.ta), b.in(s.tb), from_packed.out(), s.compute,
                       addend_of(s, other, from_packed));
      ASSERT_EQ(c.bytes(), from_packed.bytes()) << s.name();
    }
  }
}

TEST_P(GemmTiles, HasTheSameBitsWhateverTheThreads) {
  // Three, and more threads than tiles of C: other tiles, and an A that is packed for all of them at once.
  const DType f = DType::kF32, h = DType::kBf16;
  for (const Case& s : {Case{192, 192, 500, true, false, h, h, f, h, AddendKind::kSelf},
                        Case{290, 130, 270, false, true, h, h, h, h, AddendKind::kOther},
                        Case{40, 70, 2100, false, false, f, f, f, h, AddendKind::kNone}}) {
    const Matrix a(s.ta ? s.K : s.M, s.ta ? s.M : s.K, s.a, 1), b(s.tb ? s.N : s.K, s.tb ? s.K : s.N, s.b, 2);
    const Matrix start(s.M, s.N, s.c, 3), other(s.M, s.N, s.c, 4);
    std::vector<std::byte> first;
    for (size_t threads : {1, 2, 3, 20}) {
      set_num_threads(threads);
      Matrix c = start;
      multiply_on_tiles(kernels_, s.M, s.N, s.K, a.in(s.ta), b.in(s.tb), c.out(), addend_of(s, other, c));
      if (threads == 1) first = c.bytes();
      EXPECT_EQ(c.bytes(), first) << s.name() << " on " << threads << " threads";
    }
  }
}

// How often rows of A were packed.
size_t packed_rows = 0;
void count_rows(uint32_t* to, Source from, size_t extent, size_t k) {
  packed_rows += extent;
  plain_tile_packing().a_along(to, from, extent, k);
}

TEST_P(GemmTiles, LoadsAlignedRowsAsTheyAreWithTheSameBits) {
  set_num_threads(1);
  constexpr size_t kM = 59, kN = 40, kK = 96, kLd = 160;  // 59: a strip, and 27 rows that are no whole tiles
  Buffer<bf16> aligned(kM * kLd), other(kM * kLd + 1);
  const Matrix values(kM, kLd, DType::kBf16, 1), b(kN, kK, DType::kBf16, 2);
  for (size_t i = 0; i < kM * kLd; ++i) aligned[i] = other[i + 1] = bf16(static_cast<float>(values.get(i)));
  Matrix c(kM, kN, DType::kF32, 3), expected = c;
  TileKernels counting = kernels_;
  counting.packing.a_along = count_rows;
  packed_rows = 0;
  multiply_on_tiles(counting, kM, kN, kK, {other.data() + 1, DType::kBf16, kLd}, b.in(true), expected.out(),
                    {});
  EXPECT_EQ(packed_rows, kM);
  packed_rows = 0;
  multiply_on_tiles(counting, kM, kN, kK, {aligned.data(), DType::kBf16, kLd}, b.in(true), c.out(), {});
  EXPECT_EQ(packed_rows, kM - kStrip);
  EXPECT_EQ(c.bytes(), expected.bytes());
}

TEST_P(GemmTiles, InfinityAndNanReachTheirRowAndColumnOnly) {
  const size_t M = 21, N = 37, K = 45;
  Matrix a(M, K, DType::kBf16, 1), b(N, K, DType::kBf16, 2), c(M, N, DType::kBf16, 3);
  a.set(2 * a.ld() + K - 1, std::numeric_limits<double>::quiet_NaN());
  b.set(4 * b.ld() + 0, std::numeric_limits<double>::infinity());
  multiply_on_tiles(kernels_, M, N, K, a.in(false), b.in(true), c.out(), {});
  for (size_t i = 0; i < M; ++i) {
    for (size_t j = 0; j < N; ++j) {
      EXPECT_EQ(std::isnan(c.at(i, j)), i == 2) << i << "," << j;
      EXPECT_EQ(std::isinf(c.at(i, j)), i != 2 && j == 4) << i << "," << j;
    }
  }
}

TEST_P(GemmTiles, SumsInTheOrderOfTheInstruction) {
  // One step, one row and column: c = 2^24, where a float's next number is 2 further. The products at even
  // and at odd positions are summed apart, and c is added last: 1 + 1 arrives, where one by one would not.
  // The denormal counts as zero.
  alignas(64) uint32_t a[kStepUnits] = {}, b[kStepUnits] = {};
  alignas(64) float sums[kBlockSums] = {};
  const auto put = [](uint32_t* unit, float even, float odd) {
    *unit = bf16(even).bits | static_cast<uint32_t>(bf16(odd).bits) << 16;
  };
  put(a, 1.0f, 1.0f);
  put(a + 1, 0x1p-127f, 0x1p-20f);
  put(b, 1.0f, 1.0f);
  put(b + kTileUnits, 0x1p127f, 0x1p20f);
  sums[0] = 0x1p24f;
  TileBlock block{};
  block.rows = block.cols = block.steps = 1;
  block.a = reinterpret_cast<const std::byte*>(a);
  block.a_stride = kTileRowBytes;
  block.b = b;
  block.sums = sums;
  block.adds = true;
  kernels_.configure(kWholeTiles);
  kernels_.multiply_and_ask(block);
  // even: 1 + 0; odd: 1 + 1; 3 is added to 2^24 at once, and half way to the even neighbour.
  EXPECT_EQ(sums[0], 0x1p24f + 4.0f);
  sums[0] = 0x1p24f;
  put(a + 1, 0.0f, 0.0f);
  kernels_.multiply_and_ask(block);
  EXPECT_EQ(sums[0], 0x1p24f + 2.0f);
  kernels_.release();
}

TEST_P(GemmTiles, AgreeWithTheReferenceWhenAsked) { EXPECT_TRUE(tiles_agree_with_reference(kernels_)); }

INSTANTIATE_TEST_SUITE_P(Ways, GemmTiles, ::testing::Values(Way::kPlain, Way::kAvx512Packing, Way::kAmx),
                         [](const auto& info) { return name_of(info.param); });

// Faults that a processor could have, or we: each must be seen by itself.
enum class Fault {
  kNone,
  kSums,              // all blocks
  kAddedSums,         // blocks that begin with sums
  kOneRowOfTiles,     // blocks of one tile down,
  kOneColumnOfTiles,  // or across
  kRowsAsTheyAre,     // an A that is not packed
  kPacking,
  kStore,
};

// What the faulty functions do wrong: these cannot capture.
Fault fault = Fault::kNone;
DType faulty_type = DType::kF32;
bool faulty_acc = false, faulty_addend = false, faulty_whole = false;

bool is_faulty(const TileBlock& block) {
  switch (fault) {
    case Fault::kSums:
      return true;
    case Fault::kAddedSums:
      return block.adds;
    case Fault::kOneRowOfTiles:
      return block.rows <= kTileRows;
    case Fault::kOneColumnOfTiles:
      return block.cols <= kTileUnits;
    case Fault::kRowsAsTheyAre:
      return block.a_stride != kTileRowBytes;
    default:
      return false;
  }
}
void spoil(const TileBlock& block) {
  if (is_faulty(block)) block.sums[(block.rows - 1) * kStrip + block.cols - 1] += 0.25f;
}
void multiply_with_a_fault(const TileBlock& block, Pending& other) {
  emulated_tile_kernels(plain_tile_packing()).multiply(block, other);
  spoil(block);
}
void multiply_and_ask_with_a_fault(const TileBlock& block) {
  emulated_tile_kernels(plain_tile_packing()).multiply_and_ask(block);
  spoil(block);
}

template <PackTiles TilePacking::*pack>
void pack_with_a_fault(uint32_t* to, Source from, size_t extent, size_t k) {
  (plain_tile_packing().*pack)(to, from, extent, k);
  if (from.dtype == faulty_type) to[0] ^= 0x80008000u;  // signs
}
template <StoreSums TilePacking::*put>
void store_with_a_fault(const float* sums, size_t rows, size_t cols, const Store& s) {
  (plain_tile_packing().*put)(sums, rows, cols, s);
  const bool here = s.dtype == faulty_type && (s.acc != nullptr) == faulty_acc &&
                    (s.addend != nullptr) == faulty_addend && (cols == kStrip) == faulty_whole;
  if (!here) return;
  auto* last = static_cast<std::byte*>(s.out) + ((rows - 1) * s.ld + cols - 1) * dtype_size(s.dtype);
  std::memset(last, 0, dtype_size(s.dtype));
}

TileKernels faulty_kernels(Fault kind) {
  fault = kind;
  TileKernels kernels = emulated_tile_kernels(plain_tile_packing());
  kernels.multiply = multiply_with_a_fault;
  kernels.multiply_and_ask = multiply_and_ask_with_a_fault;
  return kernels;
}

TEST(GemmTilesCheck, SeesEachKindOfWrongProduct) {
  EXPECT_TRUE(tiles_agree_with_reference(faulty_kernels(Fault::kNone)));
  for (const Fault kind : {Fault::kSums, Fault::kAddedSums, Fault::kOneRowOfTiles, Fault::kOneColumnOfTiles,
                           Fault::kRowsAsTheyAre})
    EXPECT_FALSE(tiles_agree_with_reference(faulty_kernels(kind))) << static_cast<int>(kind);
  // Each of the two functions by itself.
  TileKernels kernels = faulty_kernels(Fault::kSums);
  kernels.multiply = emulated_tile_kernels(plain_tile_packing()).multiply;
  EXPECT_FALSE(tiles_agree_with_reference(kernels));
  kernels = faulty_kernels(Fault::kSums);
  kernels.multiply_and_ask = emulated_tile_kernels(plain_tile_packing()).multiply_and_ask;
  EXPECT_FALSE(tiles_agree_with_reference(kernels));
}

TEST(GemmTilesCheck, SeesEachKindOfWrongPacking) {
  for (const DType type : {DType::kF32, DType::kBf16}) {
    faulty_type = type;
    const auto sees = [&](PackTiles TilePacking::*which, PackTiles faulty) {
      TileKernels kernels = faulty_kernels(Fault::kPacking);
      kernels.packing.*which = faulty;
      return !tiles_agree_with_reference(kernels);
    };
    EXPECT_TRUE(sees(&TilePacking::a_along, pack_with_a_fault<&TilePacking::a_along>)) << dtype_name(type);
    EXPECT_TRUE(sees(&TilePacking::a_across, pack_with_a_fault<&TilePacking::a_across>)) << dtype_name(type);
    EXPECT_TRUE(sees(&TilePacking::b_along, pack_with_a_fault<&TilePacking::b_along>)) << dtype_name(type);
    EXPECT_TRUE(sees(&TilePacking::b_across, pack_with_a_fault<&TilePacking::b_across>)) << dtype_name(type);
  }
}

TEST(GemmTilesCheck, SeesEachKindOfWrongStore) {
  for (int kind = 0; kind < 16; ++kind) {
    faulty_type = (kind & 1) != 0 ? DType::kF32 : DType::kBf16;
    faulty_acc = (kind & 2) != 0;
    faulty_addend = (kind & 4) != 0;
    faulty_whole = (kind & 8) != 0;
    TileKernels kernels = faulty_kernels(Fault::kStore);
    kernels.packing.store = store_with_a_fault<&TilePacking::store>;
    EXPECT_FALSE(tiles_agree_with_reference(kernels)) << kind;
    if (faulty_acc || faulty_addend || !faulty_whole) continue;  // go the way of the others
    kernels = faulty_kernels(Fault::kStore);
    kernels.packing.stream = store_with_a_fault<&TilePacking::stream>;
    EXPECT_FALSE(tiles_agree_with_reference(kernels)) << kind << " streamed";
  }
}

// What the machine has of attention on tiles, with a fault in one of its results.
enum class AttentionFault { kNone, kOut, kLse, kDq, kDk, kDv };
AttentionFault attention_fault = AttentionFault::kNone;

void forward_with_a_fault(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                          const AttentionShape& s, const ForwardPart& part, float* scratch) {
  emulated_attention().forward(out, lse, q, k, v, s, part, scratch);
  if (attention_fault == AttentionFault::kOut) out[s.Tq * s.NH * s.HS - 1] = bf16(1.0f);
  if (attention_fault == AttentionFault::kLse) lse[s.NH * s.Tq - 1] += 0.01f;
}
void backward_with_a_fault(const TileGradients& a, const AttentionShape& s, size_t b, size_t g, size_t heads,
                           float* scratch) {
  emulated_attention().backward(a, s, b, g, heads, scratch);
  bf16* const results[] = {a.dq, a.dk, a.dv};
  const auto which = static_cast<size_t>(attention_fault) - static_cast<size_t>(AttentionFault::kDq);
  if (attention_fault >= AttentionFault::kDq) results[which][(s.Tq - 1) * s.q_stride] = bf16(4.0f);
}
constexpr TileAttention kFaultyAttention{forward_with_a_fault, backward_with_a_fault};

class TileTrustTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has(Isa::kAvx512Bf16)) GTEST_SKIP() << "this machine lacks avx512_bf16";
    attention_fault = AttentionFault::kNone;
  }
};

TEST_F(TileTrustTest, SeesEachKindOfWrongAttention) {
  EXPECT_TRUE(tiles_agree_with_reference(kFaultyAttention));
  if (has(Isa::kAmx)) {
    EXPECT_TRUE(tiles_agree_with_reference(amx_attention()));
  }
  for (const auto kind : {AttentionFault::kOut, AttentionFault::kLse, AttentionFault::kDq,
                          AttentionFault::kDk, AttentionFault::kDv}) {
    attention_fault = kind;
    EXPECT_FALSE(tiles_agree_with_reference(kFaultyAttention)) << static_cast<int>(kind);
  }
}

TEST_F(TileTrustTest, WarnsOnceWhereTheyAreWrong) {
  std::vector<std::string> warnings;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { warnings.push_back(text); });
  TileTrust right, wrong, wrong_attention;
  EXPECT_TRUE(right.allows(faulty_kernels(Fault::kNone), kFaultyAttention));
  EXPECT_TRUE(warnings.empty());
  EXPECT_TRUE(right.allows(faulty_kernels(Fault::kSums), kFaultyAttention));  // not asked again
  EXPECT_FALSE(wrong.allows(faulty_kernels(Fault::kSums), kFaultyAttention));
  EXPECT_FALSE(wrong.allows(faulty_kernels(Fault::kNone), kFaultyAttention));
  EXPECT_EQ(warnings.size(), 1u);
  attention_fault = AttentionFault::kDk;
  EXPECT_FALSE(wrong_attention.allows(faulty_kernels(Fault::kNone), kFaultyAttention));
  set_log_sink(before);
  ASSERT_EQ(warnings.size(), 2u);
  for (const std::string& warning : warnings)
    EXPECT_NE(warning.find("AMX tiles are wrong"), std::string::npos) << warning;
}

TEST(EmulatedTiles, RefuseWhatTheProcessorRefuses) {
  const TileKernels kernels = emulated_tile_kernels(plain_tile_packing());
  const auto refused = [&](auto&& change, const char* message) {
    TileConfig config = kWholeTiles;
    change(config);
    EXPECT_ERROR(kernels.configure(config), ErrorCode::kFailed, message);
  };
  refused([](TileConfig& c) { c.palette = 2; }, "palette 1");
  refused([](TileConfig& c) { c.rows[3] = 17; }, "16 rows of 64 bytes");
  refused([](TileConfig& c) { c.row_bytes[3] = 68; }, "16 rows of 64 bytes");
  refused([](TileConfig& c) { c.rows[3] = 0; }, "or neither");
  refused([](TileConfig& c) { c.rows[8] = 1, c.row_bytes[8] = 4; }, "eight tiles");
  refused([](TileConfig& c) { c.reserved[13] = 1; }, "reserved");

  std::vector<uint32_t> operand(kStepUnits);
  std::vector<float> sums(kBlockSums);
  TileBlock block{};
  block.rows = block.cols = block.steps = 1;
  block.a = reinterpret_cast<const std::byte*>(operand.data());
  block.a_stride = kTileRowBytes;
  block.b = operand.data();
  block.sums = sums.data();
  kernels.release();
  EXPECT_ERROR(kernels.multiply_and_ask(block), ErrorCode::kFailed, "not configured");
  TileConfig narrow = kWholeTiles;
  narrow.row_bytes[4] = 32;
  kernels.configure(narrow);
  EXPECT_ERROR(kernels.multiply_and_ask(block), ErrorCode::kFailed, "shapes of a product");
  kernels.release();
}

TEST(TilePacking, WithAvx512MatchesThePlainOne) {
  if (!has(Isa::kAvx512Bf16)) GTEST_SKIP() << "this machine lacks avx512_bf16";
  const TilePacking &fast = avx512_tile_packing(), &plain = plain_tile_packing();
  const std::pair<PackTiles, PackTiles> along[] = {{fast.a_along, plain.a_along},
                                                   {fast.b_along, plain.b_along}};
  const std::pair<PackTiles, PackTiles> across[] = {{fast.a_across, plain.a_across},
                                                    {fast.b_across, plain.b_across}};
  for (DType type : {DType::kF32, DType::kBf16}) {
    for (size_t extent : {1, 7, 15, 16, 17, 31, 32}) {
      for (size_t k : {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97}) {
        const auto compare = [&](const auto& pair, size_t lines, size_t positions) {
          const Matrix m(lines, positions, type, extent * 100 + k);
          const Source from{static_cast<const std::byte*>(m.data()), type, m.ld()};
          const size_t units = (k + kStepDepth - 1) / kStepDepth * kStepUnits;
          Buffer<uint32_t> got(units + 1), expected(units + 1);
          std::fill_n(got.data(), units + 1, 0xabcdu);  // no packed unit may be left as it was, nor this one
          std::fill_n(expected.data(), units + 1, 0xabcdu);
          pair.first(got.data(), from, extent, k);
          pair.second(expected.data(), from, extent, k);
          ASSERT_TRUE(std::equal(got.data(), got.data() + units + 1, expected.data()))
              << dtype_name(type) << " extent " << extent << " k " << k;
          ASSERT_EQ(got[units], 0xabcdu);
        };
        for (const auto& pair : along) compare(pair, extent, k);
        for (const auto& pair : across) compare(pair, k, extent);
        if (HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace fathom
