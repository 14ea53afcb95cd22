// Products with the step that follows them: on tiles the bits are those of the product and the separate pass.

#include "kernels/gemm_epilogues.h"

#include <limits>

#include "kernels/cross_entropy.h"
#include "kernels/gemm_tiles_testing.h"
#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace gemm_detail;
using namespace gemm_testing;
using namespace testing;  // NOLINT: the helpers of these tests

constexpr DType kB = DType::kBf16;

class GemmEpilogues : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (!has(needed(GetParam()))) GTEST_SKIP() << "this machine lacks " << isa_name(needed(GetParam()));
    kernels_ = kernels_of(GetParam());
    // The separate pass by the same vector code as the blocks, on machines that would choose less too.
    if (has(Isa::kAvx512Bf16)) set_active_isa(Isa::kAvx512Bf16);
  }
  void TearDown() override {
    set_active_isa(isa_);
    set_num_threads(threads_);
  }

  /// c (M, N) = a b^T as it is stored.
  std::vector<bf16> product(size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b) const {
    std::vector<bf16> c(M * N);
    multiply_on_tiles(kernels_, M, N, K, a, b, {c.data(), kB, N}, {});
    return c;
  }

  void check_swiglu(size_t M, size_t F, size_t K, GateActivation f, bool packs) {
    const auto a = random_values<bf16>(M * K, 1), b = random_values<bf16>(2 * F * K, 2);
    const MatrixIn a_in{a.data(), kB, K};
    MatrixIn b_in{b.data(), kB, K, true};
    std::vector<bf16> act(M * F), expected(M * F);
    swiglu_forward(expected.data(), product(M, 2 * F, K, a_in, b_in).data(), M, F, f);
    Buffer<uint32_t> packed(packed_tile_units(K, 2 * F));
    if (packs) {
      pack_for_tiles(kernels_.packing, packed.data(), K, 2 * F, b_in);
      b_in.packed = packed.data();
    }
    ASSERT_TRUE(swiglu_on_tiles(kernels_, act.data(), M, F, K, a_in, b_in, f));
    EXPECT_TRUE(same_bits(act, expected)) << M << " x " << F << " x " << K;
  }

  void check_rope(size_t M, size_t K, size_t HS, size_t heads, size_t rotated, size_t T, size_t position) {
    const size_t N = heads * HS;
    const auto a = random_values<bf16>(M * K, 1), b = random_values<bf16>(N * K, 2);
    const MatrixIn a_in{a.data(), kB, K}, b_in{b.data(), kB, K, true};
    const RopeTable<float> table(position + T, rope_frequencies(HS, 10000.0));
    std::vector<bf16> c(M * N), expected = product(M, N, K, a_in, b_in);
    rope(expected.data(), M, N, rotated, HS, T, position, table, false);
    ASSERT_TRUE(rope_on_tiles(kernels_, c.data(), M, N, K, a_in, b_in, {rotated, HS, T, position, &table}));
    EXPECT_TRUE(same_bits(c, expected))
        << M << " rows, heads of " << HS << ", " << rotated << " of " << heads;
  }

  TileKernels kernels_{};

 private:
  const Isa isa_ = active_isa();
  const size_t threads_ = num_threads();
};

TEST_P(GemmEpilogues, SwigluHasTheBitsOfTwoPasses) {
  for (const size_t threads : {1, 3}) {
    set_num_threads(threads);
    // Rows and depths that fill no tiles, groups of strips that are not whole, panels by the dozen.
    for (const auto& mfk : std::vector<std::vector<size_t>>{
             {5, 32, 3}, {33, 64, 70}, {130, 96, 33}, {161, 32, 640}, {300, 416, 20}}) {
      for (const GateActivation f : {GateActivation::kSilu, GateActivation::kGeluTanh})
        check_swiglu(mfk[0], mfk[1], mfk[2], f, f == GateActivation::kSilu);
    }
  }
  check_swiglu(40, 32, 2100, GateActivation::kSilu, false);  // partial sums wait for the next depth
}

// More than a mebibyte, which goes past the caches.
TEST_P(GemmEpilogues, LargeResultsHaveTheBitsOfTwoPasses) {
  check_swiglu(1100, 512, 32, GateActivation::kSilu, false);
  check_rope(1100, 32, 64, 8, 6, 100, 0);
}

TEST_P(GemmEpilogues, RotationHasTheBitsOfTwoPasses) {
  for (const size_t threads : {1, 3}) {
    set_num_threads(threads);
    check_rope(37, 33, 32, 3, 2, 10, 0);  // a panel is a head
    check_rope(130, 70, 64, 4, 3, 65, 7);
    check_rope(70, 20, 128, 3, 2, 70, 0);  // two pairs of panels a head
    check_rope(33, 20, 192, 2, 1, 11, 3);
    check_rope(40, 20, 64, 2, 0, 40, 0);  // nothing to rotate
  }
  check_rope(33, 2100, 64, 2, 1, 33, 0);
}

/// The losses of a (M, K) b^T from stored logits.
std::vector<double> stored_losses(std::vector<float> logits, const std::vector<int32_t>& targets, size_t V) {
  std::vector<double> nll;
  for (size_t r = 0; r < targets.size(); ++r)
    nll.push_back(softmax_nll_row(logits.data() + r * V, targets[r], false, 0.0f, V));
  return nll;
}

TEST_P(GemmEpilogues, LossesAreThoseOfStoredLogits) {
  for (const auto& mvk : std::vector<std::vector<size_t>>{
           {5, 32, 3}, {33, 96, 70}, {70, 1024, 33}, {40, 2976, 17}, {130, 1056, 40}}) {
    const size_t M = mvk[0], V = mvk[1], K = mvk[2];
    const auto a = random_values<bf16>(M * K, 1), b = random_values<bf16>(V * K, 2);
    const MatrixIn a_in{a.data(), kB, K}, b_in{b.data(), kB, K, true};
    std::vector<int32_t> targets;
    for (size_t r = 0; r < M; ++r)
      targets.push_back(r % 5 == 4 ? kIgnoredTarget : static_cast<int32_t>(r * 37 % V));
    std::vector<float> logits(M * V);
    multiply_on_tiles(kernels_, M, V, K, a_in, b_in, {logits.data(), DType::kF32, V}, {});
    const std::vector<double> expected = stored_losses(logits, targets, V);
    std::vector<double> first;
    for (const size_t threads : {1, 2, 5}) {
      set_num_threads(threads);
      std::vector<double> nll(M, -1.0);
      ASSERT_TRUE(softmax_nll_on_tiles(kernels_, nll.data(), targets.data(), M, V, K, a_in, b_in));
      for (size_t r = 0; r < M; ++r) EXPECT_NEAR(nll[r], expected[r], 2e-6 + 1e-7 * expected[r]) << r;
      if (threads == 1) first = nll;
      EXPECT_EQ(nll, first) << threads;
    }
    // B packed in parts, and before: the same bits.
    TileKernels parts = kernels_;
    parts.packed_bytes = 2 * 1024 * K;
    std::vector<double> nll(M);
    ASSERT_TRUE(softmax_nll_on_tiles(parts, nll.data(), targets.data(), M, V, K, a_in, b_in));
    EXPECT_EQ(nll, first);
    Buffer<uint32_t> packed(packed_tile_units(K, V));
    pack_for_tiles(kernels_.packing, packed.data(), K, V, b_in);
    MatrixIn packed_in = b_in;
    packed_in.packed = packed.data();
    ASSERT_TRUE(softmax_nll_on_tiles(kernels_, nll.data(), targets.data(), M, V, K, a_in, packed_in));
    EXPECT_EQ(nll, first);
  }
}

// Logits that rise by hundreds along a row, fall, are infinite or no numbers: K is 1, b holds a row of them.
TEST_P(GemmEpilogues, LossesOfExtremeLogits) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  constexpr size_t kRows = 6, kV = 1120;
  const std::vector<bf16> ones(kRows, bf16(1.0f));
  const auto check = [&](const char* what, const auto& logit) {
    SCOPED_TRACE(what);
    std::vector<bf16> b;
    for (size_t v = 0; v < kV; ++v) b.push_back(bf16(logit(v)));
    const MatrixIn a_in{ones.data(), kB, 1}, b_in{b.data(), kB, 1, true};
    std::vector<float> logits(kRows * kV);
    multiply_on_tiles(kernels_, kRows, kV, 1, a_in, b_in, {logits.data(), DType::kF32, kV}, {});
    const std::vector<int32_t> targets{0, 31, 32, 1000, 1119, 500};
    const std::vector<double> expected = stored_losses(logits, targets, kV);
    std::vector<double> nll(kRows);
    ASSERT_TRUE(softmax_nll_on_tiles(kernels_, nll.data(), targets.data(), kRows, kV, 1, a_in, b_in));
    expect_close(nll, expected, 2e-6, 2e-6, "nll", Nan::kEqualsNan);
  };
  check("rising", [](size_t v) { return static_cast<float>(v); });
  check("falling", [](size_t v) { return -static_cast<float>(v); });
  check("far apart", [](size_t v) { return v == 700 ? 3e4f : -3e4f; });
  check("just within a shift", [](size_t v) { return v % 3 == 0 ? 59.0f : 0.0f; });
  check("masked", [&](size_t v) { return v < 40 || v % 2 == 0 ? -inf : 1.0f; });
  check("infinite", [&](size_t v) { return v == 900 ? inf : 1.0f; });
  for (const size_t at : {size_t{0}, size_t{40}, size_t{1119}})
    check("no number", [&](size_t v) { return v == at ? nan : 1.0f; });
}

TEST_P(GemmEpilogues, RefusesWhatDoesNotFillPanels) {
  const std::vector<bf16> a(64 * 128), b(512 * 128);
  std::vector<bf16> out(64 * 512);
  const MatrixIn a_in{a.data(), kB, 128}, b_in{b.data(), kB, 128, true};
  EXPECT_FALSE(swiglu_on_tiles(kernels_, out.data(), 64, 48, 128, a_in, b_in, GateActivation::kSilu));
  for (const size_t HS : {8, 16, 48, 80, 96}) {
    const RopeTable<float> table(64, rope_frequencies(HS, 10000.0));
    EXPECT_FALSE(rope_on_tiles(kernels_, out.data(), 64, 2 * HS, 128, a_in, b_in, {2, HS, 64, 0, &table}))
        << HS;
  }
  double nll = 0;
  const int32_t target = 0;
  EXPECT_FALSE(softmax_nll_on_tiles(kernels_, &nll, &target, 1, 48, 128, a_in, b_in));
  // B in parts: a pair's two panels would not be there together.
  kernels_.packed_bytes = 2 * 64 * 128;
  EXPECT_FALSE(swiglu_on_tiles(kernels_, out.data(), 64, 64, 128, a_in, b_in, GateActivation::kSilu));
}

INSTANTIATE_TEST_SUITE_P(Ways, GemmEpilogues, ::testing::Values(Way::kPlain, Way::kAvx512Packing, Way::kAmx),
                         [](const auto& info) { return name_of(info.param); });

// Whatever the instruction set and the type, and where sizes do not fit tiles.
template <class W>
void check_public(size_t M, size_t F, size_t K, size_t HS) {
  constexpr DType kW = dtype_of<W>();
  const size_t N = 3 * HS, T = 7;
  const auto a = random_values<W>(M * K, 1), b = random_values<W>(std::max(2 * F, N) * K, 2);
  const MatrixIn a_in{a.data(), kW, K}, b_in{b.data(), kW, K, true};
  std::vector<W> gate_up(M * 2 * F), act(M * F), expected(M * F);
  gemm(M, 2 * F, K, a_in, b_in, {gate_up.data(), kW, 2 * F}, kW);
  swiglu_forward(expected.data(), gate_up.data(), M, F);
  gemm_swiglu(act.data(), gate_up.data(), M, F, K, a_in, b_in, GateActivation::kSilu);
  EXPECT_TRUE(same_bits(act, expected)) << M << " x " << F << " x " << K;

  const RopeTable<Stream<W>> table(T + 2, rope_frequencies(HS, 10000.0));
  std::vector<W> c(M * N), rotated(M * N);
  gemm(M, N, K, a_in, b_in, {rotated.data(), kW, N}, kW);
  rope(rotated.data(), M, N, 2, HS, T, 2, table, false);
  gemm_rope<W>(c.data(), M, N, K, a_in, b_in, {2, HS, T, 2, &table});
  EXPECT_TRUE(same_bits(c, rotated)) << M << " rows, heads of " << HS;
}

TEST(GemmEpiloguesOfEachIsa, HaveTheBitsOfTwoPasses) {
  for_each_isa([] {
    for (const size_t M : {3, 40}) {  // a few rows go another way
      for (const size_t HS : {16, 64}) {
        check_public<float>(M, 32, 45, HS);
        check_public<bf16>(M, 32, 45, HS);
        check_public<bf16>(M, 40, 64, HS);
      }
      check_public<double>(M, 7, 9, 8);
    }
  });
}

}  // namespace
}  // namespace fathom
