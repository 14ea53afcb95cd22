// The fast passes against the plain reference, at odd sizes, on each instruction set that the machine has.

#include "kernels/attention_testing.h"

namespace fathom {
namespace {

using namespace attention_testing;

TEST(Attention, MatchesReferenceAtOddLengths) {
  for_each_isa([] {
    for (size_t T : {1u, 2u, 5u, 7u, 8u, 9u, 31u, 33u, 63u, 64u, 65u, 127u, 129u, 200u}) {
      check(Problem<float>(2, T, 2, 1, 16));
      check(Problem<bf16>(2, T, 2, 1, 16));
    }
    check(Problem<bf16>(1, 600, 2, 1, 64));
  });
}

TEST(Attention, MatchesReferenceAtAllHeadSizes) {
  for_each_isa([] {
    for (size_t HS = 8; HS <= 256; HS += HS < 80 ? 8 : 56) {
      check(Problem<float>(1, 70, 1, 1, HS));
      check(Problem<bf16>(1, 70, 1, 1, HS));
    }
  });
}

TEST(Attention, MatchesReferenceWithGroupedHeads) {
  for_each_isa([] {
    for (auto [NH, NKV] : {std::pair<size_t, size_t>{6, 6}, {6, 2}, {6, 1}}) {
      check(Problem<float>(2, 67, NH, NKV, 32));
      check(Problem<bf16>(2, 67, NH, NKV, 32));
    }
    // So many heads of keys that each is one piece of a backward's work; above, heads of queries are.
    EXPECT_FALSE(splits_backward(9, 67, 4, 2, 40));
    EXPECT_TRUE(splits_backward(2, 67, 6, 2, 32));
    check(Problem<float>(9, 67, 4, 2, 40));
    check(Problem<bf16>(9, 67, 4, 2, 40));
  });
}

// Documents of random lengths, and a sliding window, and no order at all.
template <class W>
Problem<W> masked_problem(int kind) {
  Problem<W> p(2, 210, 2, 1, 24);
  p.first_key.resize(p.B * p.T);
  Rng rng(5);
  for (size_t b = 0; b < p.B; ++b) {
    int32_t start = 0;
    for (size_t t = 0; t < p.T; ++t) {
      if (rng.below(40) == 0) start = static_cast<int32_t>(t);
      const auto window = static_cast<int32_t>(t < 70 ? 0 : t - 70);
      const auto any = static_cast<int32_t>(rng.below(t + 1));
      p.first_key[b * p.T + t] = kind == 0 ? start : kind == 1 ? window : any;
    }
  }
  return p;
}

TEST(Attention, MatchesReferenceWithFirstKeys) {
  for_each_isa([] {
    for (int kind : {0, 1, 2}) {
      check(masked_problem<float>(kind));
      check(masked_problem<bf16>(kind));
    }
  });
}

// With caps that bend the scores (which are standard normal), hardly touch them, and flatten them.
template <class W>
Problem<W> capped_problem(double softcap) {
  Problem<W> p(2, 131, 4, 2, 24);
  p.scale = 0.3;
  p.softcap = softcap;
  return p;
}

TEST(Attention, MatchesReferenceWithScaleAndSoftcap) {
  for_each_isa([] {
    for (const double softcap : {0.0, 0.3, 2.0, 50.0}) {
      check(capped_problem<float>(softcap));
      check(capped_problem<bf16>(softcap));
    }
  });
}

// The kernels on tiles, on tiles in plain C++, wherever there is AVX-512: on real ones they run above.
class EmulatedAttention : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto& have = available_isas();
    if (std::find(have.begin(), have.end(), Isa::kAvx512Bf16) == have.end())
      GTEST_SKIP() << "this machine lacks avx512_bf16";
    emulates = true;
  }
  void TearDown() override { emulates = false; }
};

TEST_F(EmulatedAttention, MatchesReference) {
  for (size_t T : {1u, 31u, 33u, 127u, 129u, 260u}) check(Problem<bf16>(2, T, 4, 2, 40));
  for (size_t HS : {8u, 32u, 64u, 128u}) check(Problem<bf16>(1, 70, 1, 1, HS));
  check(Problem<bf16>(1, 600, 1, 1, 8));  // more queries than share the packing of keys
  for (int kind : {0, 1, 2}) check(masked_problem<bf16>(kind));
  Problem<bf16> scaled(1, 131, 4, 2, 24);
  scaled.scale = 0.3;
  check(scaled);
}

TEST_F(EmulatedAttention, ReadsFromACache) {
  for (size_t q_start : {0u, 1u, 63u, 128u, 257u}) {
    for (size_t Tq : {5u, 66u}) {
      for (bool windowed : {false, true}) check_cache<bf16>(q_start, Tq, windowed, 0.0);
    }
  }
}

class AttentionCap : public ::testing::TestWithParam<double> {};

INSTANTIATE_TEST_SUITE_P(Caps, AttentionCap, ::testing::Values(0.0, 0.5, 3.0));

TEST_P(AttentionCap, BackwardMatchesFiniteDifferences) {
  Problem<double> p(2, 6, 4, 2, 8);
  p.softcap = GetParam();
  p.first_key = {0, 0, 0, 2, 2, 3, 0, 1, 0, 0, 4, 4};
  Result<double> r;
  forward(r, p, false);
  backward(r, p, false);
  const auto gradient = r.dqkv;
  const auto loss = [&] {
    forward(r, p, false);
    return weighted_sum(r.out, p.dout);
  };
  expect_finite_differences(p.qkv, gradient, loss, "dqkv");
}

template <class W>
void check_threads(const Problem<W>& p) {
  expect_same_bits_for_any_threads([&] {
    Result<W> r;
    forward(r, p, false);
    backward(r, p, false);
    std::vector<float> all = r.lse;
    for (const auto& part : {r.out, r.dqkv}) {
      for (const W& x : part) all.push_back(static_cast<float>(x));
    }
    return all;
  });
}

TEST(Attention, SameBitsForAnyNumberOfThreads) {
  check_threads(masked_problem<bf16>(0));
  check_threads(masked_problem<float>(0));
  // On tiles one thread takes four heads of queries together, and two of keys; three threads one each.
  check_threads(Problem<bf16>(1, 70, 16, 8, 24));
  check_threads(Problem<bf16>(9, 67, 4, 2, 24));  // heads of keys are pieces; above, heads of queries are
}

// In a batch heads of keys are pieces of a backward's work, alone those of queries: a sequence's gradients
// are the same bits.
template <class W>
void check_batch() {
  const Problem<W> batch(9, 67, 6, 2, 24);
  Result<W> together;
  forward(together, batch, false);
  backward(together, batch, false);
  const size_t row = batch.qkv.size() / (batch.B * batch.T), n = batch.T * row;
  const size_t out_n = batch.T * batch.NH * batch.HS;
  for (const size_t b : {size_t{0}, size_t{8}}) {
    Problem<W> alone(1, 67, 6, 2, 24);
    alone.qkv.assign(batch.qkv.begin() + b * n, batch.qkv.begin() + (b + 1) * n);
    alone.dout.assign(batch.dout.begin() + b * out_n, batch.dout.begin() + (b + 1) * out_n);
    Result<W> r;
    forward(r, alone, false);
    backward(r, alone, false);
    EXPECT_TRUE(same_bits(
        r.dqkv, std::vector<W>(together.dqkv.begin() + b * n, together.dqkv.begin() + (b + 1) * n)));
  }
}

TEST(Attention, GradientsHaveTheSameBitsInABatchAndAlone) {
  for_each_isa([] {
    check_batch<float>();
    check_batch<bf16>();
  });
}

// A query's result with others before and behind it, and alone.
template <class W>
void check_blocks(double softcap) {
  const size_t T = 200, NH = 2, NKV = 1, HS = 24;
  const auto q = random_values<W>(T * NH * HS, 1), k = random_values<W>(T * NKV * HS, 2),
             v = random_values<W>(T * NKV * HS, 3);
  std::vector<int32_t> first_key(T);
  for (size_t t = 0; t < T; ++t) first_key[t] = static_cast<int32_t>(t / 90 * 90);
  for (const bool masked : {false, true}) {
    // Queries [begin, end), as rows of `out` and `lse` (T, NH).
    const auto run = [&](std::vector<W>& out, std::vector<float>& lse, size_t begin, size_t end) {
      const size_t n = end - begin;
      AttentionShape s{1, n, end, NH, NKV, HS, NH * HS, NKV * HS, end * NKV * HS, begin, nullptr};
      if (masked) s.first_key = first_key.data() + begin;
      s.softcap = softcap;
      s.in_blocks = true;
      std::vector<float> lse_here(NH * n);
      attention_forward(out.data() + begin * NH * HS, lse_here.data(), q.data() + begin * NH * HS, k.data(),
                        v.data(), s);
      for (size_t h = 0; h < NH; ++h) {
        for (size_t t = 0; t < n; ++t) lse[(begin + t) * NH + h] = lse_here[h * n + t];
      }
    };
    std::vector<W> whole(T * NH * HS), parts = whole;
    std::vector<float> whole_lse(T * NH), parts_lse = whole_lse;
    run(whole, whole_lse, 0, T);
    for (const size_t n : {size_t{1}, size_t{3}, size_t{4}, size_t{5}, size_t{37}, size_t{64}, size_t{130}}) {
      for (size_t begin = 0; begin < T; begin += n) run(parts, parts_lse, begin, std::min(T, begin + n));
      EXPECT_TRUE(same_bits(parts, whole)) << n << " queries at once" << (masked ? ", masked" : "");
      EXPECT_TRUE(same_bits(parts_lse, whole_lse)) << n << " queries at once" << (masked ? ", masked" : "");
    }
  }
}

TEST(Attention, InBlocksHasTheSameBitsWhateverTheNumberOfQueries) {
  for_each_isa([] {
    check_blocks<float>(0);
    check_blocks<bf16>(0);
    check_blocks<bf16>(1.5);
  });
}

TEST(Attention, NanReachesTheQueriesThatSeeIt) {
  for_each_isa([] {
    for (size_t at : {0u, 70u}) {
      Problem<bf16> p(1, 130, 1, 1, 16);
      p.qkv[at * p.stride() + 16] = bf16(std::numeric_limits<float>::quiet_NaN());  // in k of position `at`
      Result<bf16> r;
      forward(r, p, false);
      for (size_t t = at; t < p.T; ++t) EXPECT_TRUE(std::isnan(static_cast<float>(r.out[t * 16]))) << t;
      for (size_t t = 0; t < at / 64 * 64; ++t) EXPECT_FALSE(std::isnan(static_cast<float>(r.out[t * 16])));
    }
  });
}

// NaN in v of one position reaches the queries that see it, and at most those of which one in their block of
// 64 sees a key of its block of 128; the scores of the others stay clean.
void check_nan_in_v(const Problem<bf16>& p, size_t at) {
  const size_t column = 3;
  Problem<bf16> spoiled = p;
  spoiled.qkv[at * p.stride() + 2 * p.HS + column] = bf16(std::numeric_limits<float>::quiet_NaN());
  Result<bf16> clean, r;
  forward(clean, p, false);
  forward(r, spoiled, false);
  EXPECT_TRUE(same_bits(r.lse, clean.lse));
  const auto first_key = [&](size_t t) {
    return p.first_key.empty() ? size_t{0} : static_cast<size_t>(p.first_key[t]);
  };
  size_t sees = 0, may_not = 0;
  for (size_t t = 0; t < p.T; ++t) {
    const size_t begin = t / 64 * 64, end = std::min(p.T, begin + 64);
    bool near = false;
    for (size_t u = begin; u < end; ++u) near = near || (first_key(u) / 128 <= at / 128 && at <= end - 1);
    if (active_isa() == Isa::kScalar) near = first_key(t) <= at && at <= t;
    for (size_t i = 0; i < p.HS; ++i) {
      const bool is_nan = std::isnan(static_cast<float>(r.out[t * p.HS + i]));
      if (i != column || !near) {
        EXPECT_FALSE(is_nan) << t << "," << i;
      } else if (first_key(t) <= at && at <= t) {
        EXPECT_TRUE(is_nan) << t << "," << i;
      }
    }
    sees += first_key(t) <= at && at <= t;
    may_not += !near;
  }
  EXPECT_GT(sees, 0u);
  EXPECT_GT(may_not, 0u);
}

TEST(Attention, NanInAValueReachesNoFurtherThanItsBlocks) {
  for_each_isa([] {
    Problem<bf16> p(1, 400, 1, 1, 16);
    for (const size_t at : {size_t{130}, size_t{200}, size_t{399}}) check_nan_in_v(p, at);
    for (size_t t = 0; t < p.T; ++t) p.first_key.push_back(static_cast<int32_t>(t / 50 * 50));
    for (const size_t at : {size_t{0}, size_t{130}, size_t{200}}) check_nan_in_v(p, at);
  });
}

TEST(Attention, ANanOfAnyPayloadInAQuerySpoilsIt) {
  for_each_isa([] {
    for (const float nan : odd_nans()) {
      for (const size_t T : {size_t{3}, size_t{70}}) {  // row by row, and by blocks
        Problem<float> p(1, T, 1, 1, 16);
        p.qkv[2 * p.stride()] = nan;
        Result<float> r;
        forward(r, p, false);
        for (size_t t = 0; t < T; ++t) EXPECT_EQ(std::isnan(r.out[t * 16]), t == 2) << t;
      }
    }
  });
}

TEST(Attention, LargeScoresDoNotOverflow) {
  for_each_isa([] {
    Problem<float> p(1, 70, 1, 1, 8);
    for (float& x : p.qkv) x *= 100.0f;
    Result<float> fast, plain;
    forward(fast, p, false);
    forward(plain, p, true);
    // Scores are some 3e4, off by (HS + 4) u of that: the probabilities by up to 3e-2.
    expect_close(fast.lse, plain.lse, 16 * kFloatUnit, 0, "lse");
    expect_close(fast.out, plain.out, 0, 100 * 3e4 * 12 * kFloatUnit, "out");
  });
}

TEST(Attention, ScratchIsLinearInLength) {
  // By construction: the kernels take their memory from these sizes and from nowhere else. At T = 8192 one
  // head's T x T scores alone would be 2^26 floats.
  EXPECT_LT(forward_scratch_size(64), size_t{1} << 16);
  EXPECT_LT(backward_scratch_size(8192, 64), size_t{1} << 22);
  EXPECT_LE(backward_scratch_size(16384, 64), 2 * backward_scratch_size(8192, 64));
  for_each_isa([] {
    if (active_isa() == Isa::kScalar) return;  // the reference: the same memory, but a minute of time
    Problem<bf16> p(1, 8192, 1, 1, 8);
    Result<bf16> r;
    forward(r, p, false);
    backward(r, p, false);
    for (float l : r.lse) ASSERT_TRUE(std::isfinite(l));
  });
}

// Grouped heads, several sequences, more positions than a block: dq and dk as if rope's inverse had come
// after.
template <class W>
void check_before_rope() {
  const Problem<W> p(2, 150, 4, 2, 32);
  const RopeTable<Stream<W>> table(p.T, rope_frequencies(p.HS, 10000.0));
  Result<W> apart, together;
  forward(apart, p, false);
  together = apart;
  backward(apart, p, false);
  rope(apart.dqkv.data(), p.B * p.T, p.stride(), p.NH + p.NKV, p.HS, p.T, 0, table, true);
  together.dqkv.assign(p.qkv.size(), W(Stream<W>(99)));
  W *dq = together.dqkv.data(), *dk = dq + p.NH * p.HS, *dv = dk + p.NKV * p.HS;
  attention_backward_before_rope(dq, dk, dv, p.dout.data(), together.out.data(), together.lse.data(),
                                 p.qkv.data(), p.k(), p.v(), p.shape(), table);
  EXPECT_TRUE(same_bits(together.dqkv, apart.dqkv));
}

TEST(Attention, BackwardBeforeRopeHasTheBitsOfTwoPasses) {
  for_each_isa([] {
    check_before_rope<float>();
    check_before_rope<bf16>();
  });
  check_before_rope<double>();
}

}  // namespace
}  // namespace fathom