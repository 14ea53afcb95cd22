#include "kernels/vector_ops.h"

#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

TEST(VectorOps, ResidualAndScaledCopyMatchReference) {
  for_each_isa([] {
    for (size_t n : odd_sizes()) {
      const auto x = random_values<float>(n, 1), y = random_values<float>(n, 2);
      std::vector<float> fast(n), plain(n);
      residual_add(fast.data(), x.data(), y.data(), 1.7f, n);
      residual_add_ref(plain.data(), x.data(), y.data(), 1.7f, n);
      expect_close(fast, plain, 0, 12 * kFloatUnit, "residual");  // one rounding more, of a product below 12
      fast = y;
      residual_add(fast.data(), x.data(), fast.data(), 1.7f, n);  // in place
      expect_close(fast, plain, 0, 12 * kFloatUnit, "residual in place");
      scaled_copy(fast.data(), x.data(), -0.3f, n);
      scaled_copy_ref(plain.data(), x.data(), -0.3f, n);
      EXPECT_TRUE(same_bits(fast, plain));
    }
  });
}

void check_gain(size_t rows, size_t C) {
  const auto x = random_values<float>(rows * C, 1), dy = random_values<float>(rows * C, 2),
             gain = random_values<float>(C, 3);
  std::vector<float> y(rows * C), y_ref(rows * C), dx = dy, dx_ref(rows * C), dgain(C, 1.0f),
                                                   dgain_ref = dgain;
  gain_forward(y.data(), x.data(), gain.data(), rows, C);
  gain_forward_ref(y_ref.data(), x.data(), gain.data(), rows, C);
  EXPECT_TRUE(same_bits(y, y_ref));
  gain_backward(dx.data(), dgain.data(), dx.data(), x.data(), gain.data(), rows, C);  // dx in place of dy
  gain_backward_ref(dx_ref.data(), dgain_ref.data(), dy.data(), x.data(), gain.data(), rows, C);
  EXPECT_TRUE(same_bits(dx, dx_ref));
  // Sums of `rows` products (below 20 in all but the longest tails) in another order.
  expect_close(dgain, dgain_ref, 0, 20 * static_cast<double>(rows + 1) * kFloatUnit, "dgain");
  gain_backward<float>(dx.data(), nullptr, dy.data(), x.data(), gain.data(), rows, C);
  EXPECT_TRUE(same_bits(dx, dx_ref));
}

TEST(VectorOps, GainMatchesReference) {
  for_each_isa([] {
    for (size_t C : odd_sizes()) {
      for (size_t rows : {1u, 7u, 70u}) check_gain(rows, C);
    }
  });
}

template <class W>
void check_bias(size_t rows, size_t C) {
  const size_t stride = C + 3;
  const auto start = random_values<W>(rows * stride, 1);
  const auto bias = random_values<float>(C, 2);
  auto fast = start, plain = start;
  bias_forward(fast.data(), bias.data(), rows, stride, C);
  bias_forward_ref(plain.data(), bias.data(), rows, stride, C);
  EXPECT_TRUE(same_bits(fast, plain));
  std::vector<float> dbias(C, 1.0f), dbias_ref = dbias;
  bias_backward(dbias.data(), start.data(), rows, stride, C);
  bias_backward_ref(dbias_ref.data(), start.data(), rows, stride, C);
  expect_close(dbias, dbias_ref, 0, 6 * static_cast<double>(rows + 1) * kFloatUnit, "dbias");
}

TEST(VectorOps, BiasMatchesReference) {
  for_each_isa([] {
    for (size_t C : odd_sizes()) {
      for (size_t rows : {1u, 7u, 70u}) {
        check_bias<float>(rows, C);
        check_bias<bf16>(rows, C);
      }
    }
  });
}

TEST(VectorOps, GainAndBiasMatchFiniteDifferences) {
  const size_t rows = 3, C = 5;
  auto x = random_values<double>(rows * C, 1), gain = random_values<double>(C, 2),
       bias = random_values<double>(C, 3);
  const auto dy = random_values<double>(rows * C, 4);
  const auto loss = [&] {
    std::vector<double> y(rows * C);
    gain_forward(y.data(), x.data(), gain.data(), rows, C);
    bias_forward(y.data(), bias.data(), rows, C, C);
    return weighted_sum(y, dy);
  };
  std::vector<double> dx(rows * C), dgain(C), dbias(C);
  bias_backward(dbias.data(), dy.data(), rows, C, C);
  gain_backward(dx.data(), dgain.data(), dy.data(), x.data(), gain.data(), rows, C);
  expect_finite_differences(x, dx, loss, "dx");
  expect_finite_differences(gain, dgain, loss, "dgain");
  expect_finite_differences(bias, dbias, loss, "dbias");
}

TEST(VectorOps, ConvertRoundsToNearestEvenAndKeepsNan) {
  // All upper halves of a float, with lower halves around the tie: every sign, exponent, NaN and infinity.
  std::vector<float> values;
  for (uint32_t high = 0; high < 65536; ++high) {
    for (uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      values.push_back(std::bit_cast<float>(high << 16 | low));
  }
  for_each_isa([&] {
    std::vector<bf16> narrow(values.size());
    convert(narrow.data(), values.data(), values.size());
    for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(narrow[i].bits, bf16(values[i]).bits) << values[i];
    std::vector<float> wide(values.size());
    convert(wide.data(), narrow.data(), narrow.size());
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), static_cast<uint32_t>(narrow[i].bits) << 16);
    }
  });
}

TEST(VectorOps, ConvertTouchesNoMoreThanItsElements) {
  for_each_isa([] {
    for (size_t n : odd_sizes()) {
      const auto from = random_values<float>(n, 1);
      std::vector<bf16> to(n + 1);
      to[n].bits = 0x1234;
      convert(to.data(), from.data(), n);
      EXPECT_EQ(to[n].bits, 0x1234);
      std::vector<double> wide(n);
      convert(wide.data(), from.data(), n);
      for (size_t i = 0; i < n; ++i) EXPECT_EQ(wide[i], static_cast<double>(from[i]));
    }
  });
}

TEST(VectorOps, SumOfSquaresIsExactInDouble) {
  for_each_isa([] {
    for (size_t n : {0u, 1u, 7u, 16u, 33u, 513u, 40000u}) {
      const auto x = random_values<float>(n, 1);
      // Squares of floats are exact in double; n sums of positive terms: n unit roundoffs.
      const double expected = sum_squares_ref(x.data(), n);
      EXPECT_NEAR(sum_squares(x.data(), n), expected, expected * static_cast<double>(n + 1) * 0x1p-53);
    }
  });
}

TEST(VectorOps, FirstNonFiniteIsFoundAnywhere) {
  for_each_isa([] {
    for (size_t n : odd_sizes()) {
      std::vector<float> x(n, std::numeric_limits<float>::max());
      EXPECT_EQ(first_non_finite(x.data(), n), n);
      for (size_t at : {size_t{0}, n / 2, n - 1}) {
        for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
          auto y = x;
          y[at] = y[n - 1] = bad;
          EXPECT_EQ(first_non_finite(y.data(), n), at);
        }
      }
    }
  });
}

TEST(VectorOps, SameBitsForAnyNumberOfThreads) {
  const size_t rows = 300, C = 130;
  const auto x = random_values<float>(rows * C, 1), gain = random_values<float>(C, 2);
  expect_same_bits_for_any_threads([&] {
    std::vector<float> y(rows * C), sums(C);
    residual_add(y.data(), x.data(), x.data(), 0.3f, x.size());
    gain_backward(y.data(), sums.data(), x.data(), y.data(), gain.data(), rows, C);
    bias_backward(sums.data(), y.data(), rows, C, C);
    sums.push_back(static_cast<float>(sum_squares(y.data(), y.size())));
    return sums;
  });
}

}  // namespace
}  // namespace fathom
