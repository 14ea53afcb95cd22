#include "kernels/cross_entropy.h"

#include <numeric>

#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

void check_row(size_t V, int32_t target, double spread) {
  const auto logits = random_values<float>(V, V, spread);
  auto fast = logits, plain = logits;
  const float grad_scale = 0.25f;
  const double nll = softmax_nll_row(fast.data(), target, true, grad_scale, V);
  const double expected = softmax_nll_row_ref(plain.data(), target, true, grad_scale, V);
  // The arguments of exp are exact differences rounded once, |x| < 10 spread, so that each term is good to
  // (10 spread + 2) u; partial sums of 64 vectors add 64 u at most, and those errors average out in the
  // total.
  const double tolerance = (10 * spread + 66) * kFloatUnit;
  EXPECT_NEAR(nll, expected, tolerance);
  EXPECT_EQ(softmax_nll_row(std::vector<float>(logits).data(), target, false, grad_scale, V), nll);
  // Near 0 the absolute term covers exp's underflow to 0 and the cancellation at the target.
  expect_close(fast, plain, 2 * tolerance, grad_scale * 2 * kFloatUnit, "gradient");
}

TEST(SoftmaxNll, RowMatchesReference) {
  for_each_isa([] {
    for (size_t V : odd_sizes()) {
      for (size_t target : {size_t{0}, V / 2, V - 1}) {
        for (double spread : {0.0, 1.0, 30.0}) check_row(V, static_cast<int32_t>(target), spread);
      }
    }
    check_row(32003, 17, 3.0);
  });
}

TEST(SoftmaxNll, IgnoredTargetHasNoLossAndNoGradient) {
  for_each_isa([] {
    auto logits = random_values<float>(19, 1);
    EXPECT_EQ(softmax_nll_row(logits.data(), kIgnoredTarget, true, 1.0f, logits.size()), 0.0);
    for (float g : logits) EXPECT_EQ(g, 0.0f);
  });
}

TEST(SoftmaxNll, NanAndInfinityAreNotHidden) {
  for_each_isa([] {
    std::vector<float> bads = odd_nans();
    bads.push_back(std::numeric_limits<float>::quiet_NaN());
    bads.push_back(std::numeric_limits<float>::infinity());
    for (float bad : bads) {
      for (size_t at : {0u, 3u, 16u, 36u}) {
        auto logits = random_values<float>(37, 1);
        logits[at] = bad;
        EXPECT_TRUE(std::isnan(softmax_nll_row(logits.data(), 5, false, 1.0f, logits.size()))) << at;
      }
    }
  });
}

TEST(SoftmaxNll, HugeLogitsDoNotOverflow) {
  for_each_isa([] {
    std::vector<float> logits{1e30f, -1e30f, 1e30f};
    EXPECT_NEAR(softmax_nll_row(logits.data(), 0, true, 1.0f, 3), std::log(2.0), 1e-6);
    EXPECT_NEAR(logits[0], -0.5, 1e-6);
    EXPECT_EQ(logits[1], 0.0f);
    EXPECT_NEAR(logits[2], 0.5, 1e-6);
  });
}

class HeadLossCap : public ::testing::TestWithParam<double> {};

INSTANTIATE_TEST_SUITE_P(Caps, HeadLossCap, ::testing::Values(0.0, 1.5, 30.0));

TEST_P(HeadLossCap, BackwardMatchesFiniteDifferences) {
  const double softcap = GetParam();
  const size_t rows = 5, C = 4, V = 7;
  auto x = random_values<double>(rows * C, 1), head = random_values<double>(V * C, 2);
  const std::vector<int32_t> targets{0, 6, kIgnoredTarget, 3, 3};
  std::vector<double> nll(rows), dx(rows * C), dhead(V * C, 0.0);
  const double grad_scale = 0.3;
  const OutputHead<double> output{head.data(), C, V, softcap, {}};
  head_loss_backward<double>(nll.data(), dx.data(), {dhead.data()}, x.data(), output, targets.data(),
                             grad_scale, rows);
  const auto loss = [&] {
    std::vector<double> each(rows);
    head_loss_forward(each.data(), x.data(), output, targets.data(), rows);
    return grad_scale * std::accumulate(each.begin(), each.end(), 0.0);
  };
  EXPECT_NEAR(loss(), grad_scale * std::accumulate(nll.begin(), nll.end(), 0.0), 1e-12);
  EXPECT_EQ(nll[2], 0.0);
  expect_finite_differences(x, dx, loss, "dx");
  expect_finite_differences(head, dhead, loss, "dhead");
}

// More rows than one chunk of logits, so that dhead accumulates over chunks.
template <class W>
void check_head_against_double(double tolerance, double softcap) {
  const size_t rows = head_chunk_rows(65) + 44, C = 24, V = 65;
  const auto x = random_values<W>(rows * C, 1), head = random_values<W>(V * C, 2, 0.3);
  std::vector<int32_t> targets(rows);
  for (size_t r = 0; r < rows; ++r) targets[r] = static_cast<int32_t>(r % (V + 1)) - 1;
  const auto x_wide = to_double(x), head_wide = to_double(head);
  std::vector<double> nll(rows), nll_wide(rows), dx_wide(rows * C), dhead_wide(V * C, 1.0);
  std::vector<float> dx(rows * C), dhead(V * C, 1.0f);
  head_loss_backward<double>(nll_wide.data(), dx_wide.data(), {dhead_wide.data()}, x_wide.data(),
                             {head_wide.data(), C, V, softcap, {}}, targets.data(), 1.0, rows);
  const OutputHead<W> output{head.data(), C, V, softcap, {}};
  head_loss_backward<W>(nll.data(), dx.data(), {dhead.data()}, x.data(), output, targets.data(), 1.0f, rows);
  expect_close(nll, nll_wide, 1e-5, 1e-5, "nll");
  expect_close(dx, dx_wide, 0, tolerance, "dx");
  expect_close(dhead, dhead_wide, 0, tolerance * 10, "dhead");

  // What was there does not count where it is fresh, over all chunks.
  std::vector<float> fresh(V * C, 7.0f), zeroed(V * C, 0.0f);
  head_loss_backward<W>(nll.data(), dx.data(), {fresh.data(), true}, x.data(), output, targets.data(), 1.0f,
                        rows);
  head_loss_backward<W>(nll.data(), dx.data(), {zeroed.data()}, x.data(), output, targets.data(), 1.0f, rows);
  EXPECT_TRUE(same_bits(fresh, zeroed));
}

TEST(HeadLoss, AgreesWithDoubleOverSeveralChunks) {
  for_each_isa([] {
    check_head_against_double<float>(1e-5, 0);
    check_head_against_double<float>(1e-5, 2.5);
    // The logits' gradients (below 1) are rounded to bf16 before the products: each of the V or rows terms of
    // some 1 is off by 2^-9, with random signs; their weights (probabilities) sum to 2 in a row of dx.
    check_head_against_double<bf16>(2.0 * 0x1p-8, 0);
    check_head_against_double<bf16>(2.0 * 0x1p-8, 2.5);
  });
}

// Over more than one chunk of rows, with what depends on every sum that the threads share out.
template <class W>
void check_head_threads(double softcap) {
  const size_t V = 65, rows = head_chunk_rows(V) + 44, C = 24;
  const auto x = random_values<W>(rows * C, 1), head = random_values<W>(V * C, 2, 0.3);
  std::vector<int32_t> targets(rows);
  for (size_t r = 0; r < rows; ++r) targets[r] = static_cast<int32_t>(r % (V + 1)) - 1;
  const OutputHead<W> output{head.data(), C, V, softcap, {}};
  expect_same_bits_for_any_threads([&] {
    std::vector<double> nll(rows), alone(rows);
    std::vector<float> dx(rows * C), dhead(V * C, 1.0f);
    head_loss_backward<W>(nll.data(), dx.data(), {dhead.data()}, x.data(), output, targets.data(), 0.3f,
                          rows);
    head_loss_forward<W>(alone.data(), x.data(), output, targets.data(), rows);
    for (const auto& more : {alone, to_double(dx), to_double(dhead)})
      nll.insert(nll.end(), more.begin(), more.end());
    return nll;
  });
}

TEST(HeadLoss, HasTheSameBitsForAnyNumberOfThreads) {
  for (const double softcap : {0.0, 2.5}) {
    check_head_threads<float>(softcap);
    check_head_threads<bf16>(softcap);
  }
}

}  // namespace
}  // namespace fathom
