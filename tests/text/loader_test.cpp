#include "text/loader.h"

#include <set>

#include "text/helpers.h"

namespace fathom {
namespace {

/// A data folder whose training tokens are the numbers 3, 4, 5, ... in documents of the given lengths, then
/// an EOS each.
class Numbers {
 public:
  Numbers(const std::vector<size_t>& train, const std::vector<size_t>& valid,
          uint64_t tokens_per_shard = 1 << 20) {
    DataWriter writer(folder_ / "data", tokenizer(), tokens_per_shard);
    add(writer, false, train, train_);
    add(writer, true, valid, valid_);
    writer.finish({});
    data_ = std::make_unique<TokenData>(folder_ / "data");
  }
  const TokenData& data() const { return *data_; }
  const std::vector<int32_t>& train() const { return train_; }
  const std::vector<int32_t>& valid() const { return valid_; }

 private:
  static const Tokenizer& tokenizer() {
    static const Tokenizer tokenizer = [] {
      std::vector<std::string> pieces;
      for (char a = 'a'; a <= 'z'; ++a) pieces.emplace_back(1, a);
      for (char a = 'a'; a <= 'z'; ++a) {
        for (char b = 'a'; b <= 'z'; ++b) pieces.push_back({a, b});
      }
      return Tokenizer(std::move(pieces));
    }();
    return tokenizer;
  }
  static void add(DataWriter& writer, bool valid, const std::vector<size_t>& lengths,
                  std::vector<int32_t>& all) {
    int32_t next = 3;
    for (const size_t length : lengths) {
      std::vector<int32_t> ids;
      for (size_t i = 0; i < length; ++i) ids.push_back(next++);
      writer.add(valid, ids, length);
      all.insert(all.end(), ids.begin(), ids.end());
      all.push_back(2);
    }
  }
  ScratchFolder folder_;
  std::unique_ptr<TokenData> data_;
  std::vector<int32_t> train_, valid_;
};

TEST(Permutation, IsABijectionOfAnySize) {
  for (const uint64_t n : {1u, 2u, 3u, 4u, 5u, 7u, 16u, 17u, 64u, 65u, 1000u, 4097u}) {
    for (const uint64_t key : {0u, 1u, 99u}) {
      const Permutation order(n, key);
      std::set<uint64_t> seen;
      for (uint64_t i = 0; i < n; ++i) seen.insert(order(i));
      EXPECT_EQ(seen.size(), n);
      EXPECT_EQ(*seen.rbegin(), n - 1);
    }
  }
}

TEST(Permutation, StaysInsideHugeRanges) {
  for (const uint64_t n : {uint64_t{1} << 40, (uint64_t{1} << 40) + 1, ~uint64_t{0}}) {
    const Permutation order(n, 3);
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < 1000; ++i) {
      seen.insert(order(i * (n / 1000)));
      EXPECT_LT(*seen.rbegin(), n);
    }
    EXPECT_EQ(seen.size(), 1000u);
  }
}

TEST(Permutation, Mixes) {
  // Over 10000 keys, where 0 goes in [0, 100) is uniform: chi-square with 99 degrees of freedom, mean 99,
  // deviation 14.
  std::vector<int> counts(100);
  for (uint64_t key = 0; key < 10000; ++key) ++counts[Permutation(100, key)(0)];
  double chi2 = 0;
  for (const int c : counts) chi2 += (c - 100.0) * (c - 100.0) / 100.0;
  EXPECT_LT(chi2, 99 + 5 * 14);
  // Neighbours part: of 4096 pairs (i, i + 1), hardly any stay neighbours.
  int together = 0;
  const Permutation order(4096, 1);
  for (uint64_t i = 0; i + 1 < 4096; ++i) together += order(i + 1) == order(i) + 1;
  EXPECT_LT(together, 10);
}

TEST(TokenLoader, AnEpochCoversEveryInputOnce) {
  const Numbers numbers({100, 50, 300}, {}, 70);  // 453 tokens in several shards
  for (const size_t seq : {1u, 7u, 32u, 452u}) {
    const TokenLoader loader(numbers.data(), seq, 11);
    ASSERT_EQ(loader.windows_per_epoch(), 452 / seq);
    std::set<int64_t> begins;
    std::vector<int32_t> inputs(seq), targets(seq);
    for (uint64_t i = 0; i < loader.windows_per_epoch(); ++i) {
      loader.window(i, inputs.data(), targets.data());
      bool found = false;
      for (size_t w = 0; w < loader.windows_per_epoch() && !found; ++w) {
        const auto at = numbers.train().begin() + static_cast<std::ptrdiff_t>(w * seq);
        found = std::equal(inputs.begin(), inputs.end(), at) &&
                std::equal(targets.begin(), targets.end(), at + 1) &&
                begins.insert(static_cast<int64_t>(w)).second;
      }
      ASSERT_TRUE(found) << seq << " " << i;
    }
  }
}

TEST(TokenLoader, OrderDependsOnSeedAndEpochOnly) {
  const Numbers numbers({600}, {});
  const size_t seq = 4;
  const auto order = [&](uint64_t seed, uint64_t epoch) {
    const TokenLoader loader(numbers.data(), seq, seed);
    std::vector<int32_t> first, inputs(seq), targets(seq);
    for (uint64_t i = loader.windows_per_epoch(); i-- > 0;) {  // backwards: any order of asking
      loader.window(epoch * loader.windows_per_epoch() + i, inputs.data(), targets.data());
      first.push_back(inputs[0]);
    }
    return first;
  };
  EXPECT_EQ(order(1, 0), order(1, 0));
  EXPECT_NE(order(1, 0), order(2, 0));
  EXPECT_NE(order(1, 0), order(1, 1));
  EXPECT_NE(order(1, 1), order(2, 0));  // epochs of one seed are not those of the next
  EXPECT_NE(order(1, 1), order(1, 2));
}

TEST(TokenLoader, FindsTheFirstPositionOfEachDocument) {
  const Numbers numbers({3, 1, 2}, {});  // 3 4 5 E 6 E 7 8 E
  const TokenLoader loader(numbers.data(), 8, 0);
  std::vector<int32_t> inputs(8), targets(8), first(8);
  loader.window(0, inputs.data(), targets.data(), first.data());
  EXPECT_EQ(inputs, (std::vector<int32_t>{3, 4, 5, 2, 6, 2, 7, 8}));
  EXPECT_EQ(targets, (std::vector<int32_t>{4, 5, 2, 6, 2, 7, 8, 2}));
  EXPECT_EQ(first, (std::vector<int32_t>{0, 0, 0, 0, 4, 4, 6, 6}));
}

TEST(TokenLoader, ValidationScoresEveryTokenButTheFirstOnce) {
  for (const size_t tokens : {0u, 1u, 2u, 3u, 8u, 9u, 10u, 11u, 17u}) {  // with the EOS of the one document
    const Numbers numbers({50}, tokens == 0 ? std::vector<size_t>{} : std::vector<size_t>{tokens - 1});
    const TokenLoader loader(numbers.data(), 5, 0);
    EXPECT_EQ(loader.validation_windows(), tokens < 2 ? 0 : (tokens - 1 + 4) / 5) << tokens;
    std::vector<int32_t> inputs(5), targets(5), all_inputs, all_targets;
    for (uint64_t i = 0; i < loader.validation_windows(); ++i) {
      loader.validation_window(i, inputs.data(), targets.data());
      for (size_t t = 0; t < 5; ++t) {
        EXPECT_EQ(targets[t] == -1, i * 5 + t >= tokens - 1);
        if (targets[t] == -1) {
          EXPECT_EQ(inputs[t], 2);
          continue;
        }
        all_inputs.push_back(inputs[t]);
        all_targets.push_back(targets[t]);
      }
    }
    if (tokens < 2) continue;
    EXPECT_EQ(all_inputs, std::vector<int32_t>(numbers.valid().begin(), numbers.valid().end() - 1));
    EXPECT_EQ(all_targets, std::vector<int32_t>(numbers.valid().begin() + 1, numbers.valid().end()));
  }
}

TEST(TokenLoader, RefusesADatasetShorterThanAWindow) {
  const Numbers numbers({9}, {});
  EXPECT_EQ(TokenLoader(numbers.data(), 9, 0).windows_per_epoch(), 1u);
  EXPECT_TRUE(contains(error_of([&] { TokenLoader(numbers.data(), 10, 0); }), "holds 10 training tokens"));
  EXPECT_TRUE(contains(error_of([&] { TokenLoader(numbers.data(), 0, 0); }), "sequence length of 0"));
}

}  // namespace
}  // namespace fathom
