#include "kernels/rope.h"

#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

TEST(RopeTable, HoldsTheAnglesOfThePaper) {
  const RopeTable<double> table(10, rope_frequencies(8, 10000.0));
  EXPECT_EQ(table.half, 4u);
  // theta^(-2i/HS) for i = 1 of HS = 8 is 10000^(-1/4) = 0.1.
  EXPECT_NEAR(table.cos[7 * 4 + 1], std::cos(0.7), 1e-14);
  EXPECT_NEAR(table.sin[7 * 4 + 1], std::sin(0.7), 1e-14);
  EXPECT_EQ(table.cos[0], 1.0);
}

// `gap` numbers between rows must stay as they are.
template <class W>
void check(size_t rows, size_t heads, size_t HS, bool inverse, bool with_bias) {
  const size_t T = 5, first = 3, gap = 2, stride = heads * HS + gap;
  const RopeTable<float> table(first + T, rope_frequencies(HS, 10000.0));
  const auto x = random_values<W>(rows * stride, HS);
  const auto bias = random_values<float>(heads * HS, 2);
  auto fast = x, plain = x;
  rope(fast.data(), rows, stride, heads, HS, T, first, table, inverse, with_bias ? bias.data() : nullptr);
  rope_ref(plain.data(), rows, stride, heads, HS, T, first, table, inverse,
           with_bias ? bias.data() : nullptr);
  // Two products (of numbers below 12) and their sum, which may cancel.
  expect_close(fast, plain, storage_step<W>(), 4 * 12 * kFloatUnit, "x");
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = heads * HS; i < stride; ++i)
      EXPECT_EQ(static_cast<float>(fast[r * stride + i]), static_cast<float>(x[r * stride + i]));
  }
}

TEST(Rope, MatchesReference) {
  for_each_isa([] {
    for (size_t HS : {2u, 8u, 14u, 16u, 24u, 32u, 64u, 66u, 128u, 256u}) {
      for (size_t rows : {1u, 7u, 70u}) {
        for (bool inverse : {false, true}) {
          for (bool with_bias : {false, true}) {
            check<float>(rows, 3, HS, inverse, with_bias);
            check<bf16>(rows, 3, HS, inverse, with_bias);
          }
        }
      }
    }
  });
}

TEST(Rope, InverseTurnsBack) {
  for_each_isa([] {
    const size_t rows = 9, HS = 40;
    const RopeTable<float> table(rows, rope_frequencies(HS, 10000.0));
    const auto start = random_values<float>(rows * HS, 1);
    auto x = start;
    rope<float>(x.data(), rows, HS, 1, HS, rows, 0, table, false);
    rope<float>(x.data(), rows, HS, 1, HS, rows, 0, table, true);
    // cos^2 + sin^2 of rounded values is within 2 u of 1; the two turns add some 6 roundings of numbers < 6.
    expect_close(x, start, 0, 8 * 6 * kFloatUnit, "x");
  });
}

TEST(Rope, InverseIsTheGradient) {
  const size_t rows = 4, heads = 2, HS = 8;
  const RopeTable<double> table(rows, rope_frequencies(HS, 100.0));
  auto x = random_values<double>(rows * heads * HS, 1);
  const auto bias = random_values<double>(heads * HS, 2), dy = random_values<double>(rows * heads * HS, 3);
  auto dx = dy;
  rope<double>(dx.data(), rows, heads * HS, heads, HS, rows, 0, table, true);
  const auto loss = [&] {
    auto y = x;
    rope(y.data(), rows, heads * HS, heads, HS, rows, 0, table, false, bias.data());
    return weighted_sum(y, dy);
  };
  expect_finite_differences(x, dx, loss, "dx");
}

TEST(Rope, SameBitsForAnyNumberOfThreads) {
  const size_t rows = 100, HS = 24;
  const RopeTable<float> table(rows, rope_frequencies(HS, 10000.0));
  expect_same_bits_for_any_threads([&] {
    auto x = random_values<bf16>(rows * 2 * HS, 1);
    rope<bf16>(x.data(), rows, 2 * HS, 2, HS, rows, 0, table, false);
    return x;
  });
}

}  // namespace
}  // namespace fathom
