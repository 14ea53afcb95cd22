#include "kernels/embedding.h"

#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

constexpr size_t kVocabulary = 11;

std::vector<int32_t> random_tokens(size_t rows) {
  Rng rng(4);
  std::vector<int32_t> tokens(rows);
  for (int32_t& t : tokens) t = static_cast<int32_t>(rng.below(kVocabulary));
  return tokens;
}

template <class W>
void check_forward(size_t rows, size_t C) {
  const auto table = random_values<W>(kVocabulary * C, 1);
  const auto tokens = random_tokens(rows);
  std::vector<float> fast(rows * C), plain(rows * C);
  embedding_forward(fast.data(), table.data(), tokens.data(), rows, C);
  embedding_forward_ref(plain.data(), table.data(), tokens.data(), rows, C);
  EXPECT_TRUE(same_bits(fast, plain));
}

TEST(Embedding, MatchesReferenceBitForBit) {
  for_each_isa([] {
    for (size_t C : odd_sizes()) {
      for (size_t rows : {1u, 7u, 70u, 200u}) {
        check_forward<float>(rows, C);
        check_forward<bf16>(rows, C);
        const auto dx = random_values<float>(rows * C, 2);
        const auto tokens = random_tokens(rows);
        auto fast = random_values<float>(kVocabulary * C, 3), plain = fast;
        embedding_backward(fast.data(), dx.data(), tokens.data(), rows, C);
        embedding_backward_ref(plain.data(), dx.data(), tokens.data(), rows, C);
        EXPECT_TRUE(same_bits(fast, plain));
      }
    }
  });
}

TEST(Embedding, BackwardMatchesFiniteDifferences) {
  const size_t rows = 20, C = 3;
  auto table = random_values<double>(kVocabulary * C, 1);
  const auto dx = random_values<double>(rows * C, 2);
  const auto tokens = random_tokens(rows);
  std::vector<double> dtable(kVocabulary * C, 0.0);
  embedding_backward(dtable.data(), dx.data(), tokens.data(), rows, C);
  const auto loss = [&] {
    std::vector<double> x(rows * C);
    embedding_forward(x.data(), table.data(), tokens.data(), rows, C);
    return weighted_sum(x, dx);
  };
  expect_finite_differences(table, dtable, loss, "dtable");
}

TEST(Embedding, SameBitsForAnyNumberOfThreads) {
  const size_t rows = 200, C = 300;
  const auto dx = random_values<float>(rows * C, 2);
  const auto tokens = random_tokens(rows);
  expect_same_bits_for_any_threads([&] {
    std::vector<float> dtable(kVocabulary * C);
    embedding_backward(dtable.data(), dx.data(), tokens.data(), rows, C);
    return dtable;
  });
}

}  // namespace
}  // namespace fathom
