// Windows of supervised examples: each example once an epoch, the same windows from any start.

#include "text/sft_loader.h"

#include <map>
#include <set>

#include "text/helpers.h"

namespace fathom {
namespace {

using Ids = std::vector<int32_t>;

struct Window {
  Ids inputs, targets, first_key;
  bool operator==(const Window&) const = default;
};

Window window(const SftLoader& loader, size_t seq, uint64_t index, bool validation = false) {
  Window w{Ids(seq), Ids(seq), Ids(seq)};
  if (validation)
    loader.validation_window(index, w.inputs.data(), w.targets.data(), w.first_key.data());
  else
    loader.window(index, w.inputs.data(), w.targets.data(), w.first_key.data());
  return w;
}

/// Example i holds ids from 1000 i on; the last third of them are targets.
std::vector<SftExample> examples_of(size_t n, size_t longest, uint64_t seed) {
  Rng rng(seed);
  std::vector<SftExample> examples;
  for (size_t i = 0; i < n; ++i) {
    const size_t length = 2 + rng.below(longest - 1);
    SftExample e;
    for (size_t j = 0; j < length; ++j) {
      e.ids.push_back(static_cast<int32_t>(1000 * i + j));
      e.scored.push_back(j > 0 && 3 * j >= 2 * (length - 1));
    }
    examples.push_back(std::move(e));
  }
  return examples;
}

/// The examples that a window holds: first id -> (ids, targets) as the model sees them.
std::map<int32_t, std::pair<Ids, Ids>> parts_of(const Window& w, int32_t pad) {
  std::map<int32_t, std::pair<Ids, Ids>> parts;
  for (size_t i = 0; i < w.inputs.size(); ++i) {
    if (w.inputs[i] == pad) {
      EXPECT_EQ(w.first_key[i], static_cast<int32_t>(i)) << "padding sees itself alone";
      EXPECT_EQ(w.targets[i], -1);
      continue;
    }
    auto& [inputs, targets] = parts[w.inputs[static_cast<size_t>(w.first_key[i])]];
    inputs.push_back(w.inputs[i]);
    targets.push_back(w.targets[i]);
  }
  return parts;
}

constexpr int32_t kPad = -7;

TEST(SftLoader, ShowsEachExampleOnceAnEpochWithItsTargetsAndNothingElse) {
  constexpr size_t kSeq = 32;
  const auto examples = examples_of(200, kSeq + 1, 3);
  const SftLoader loader(examples, {}, kSeq, 5, kPad);
  for (const uint64_t epoch : {0u, 1u, 9u}) {
    std::map<int32_t, std::pair<Ids, Ids>> seen;
    for (uint64_t w = 0; w < loader.windows_per_epoch(); ++w) {
      for (auto& part : parts_of(window(loader, kSeq, epoch * loader.windows_per_epoch() + w), kPad))
        EXPECT_TRUE(seen.insert(std::move(part)).second) << "an example twice";
    }
    ASSERT_EQ(seen.size(), examples.size());
    for (const SftExample& e : examples) {
      const auto& [inputs, targets] = seen.at(e.ids[0]);
      EXPECT_EQ(inputs, Ids(e.ids.begin(), e.ids.end() - 1));
      for (size_t j = 0; j + 1 < e.ids.size(); ++j)
        EXPECT_EQ(targets[j], e.scored[j + 1] ? e.ids[j + 1] : -1);
    }
  }
  EXPECT_GT(loader.fill(), 0.95);
  EXPECT_EQ(loader.validation_windows(), 0u);
}

TEST(SftLoader, GivesAnyWindowOfTheRunWithoutThoseBeforeIt) {
  constexpr size_t kSeq = 16;
  const SftLoader one(examples_of(50, 12, 1), examples_of(9, 12, 2), kSeq, 5, kPad);
  const SftLoader other(examples_of(50, 12, 1), examples_of(9, 12, 2), kSeq, 5, kPad);
  EXPECT_EQ(one.fingerprint(), other.fingerprint());
  std::vector<Window> run;
  for (uint64_t w = 0; w < 3 * one.windows_per_epoch(); ++w) run.push_back(window(one, kSeq, w));
  for (uint64_t w = run.size(); w-- > 0;) EXPECT_EQ(window(other, kSeq, w), run[w]);
}

TEST(SftLoader, DealsTheExamplesAnewEachEpoch) {
  constexpr size_t kSeq = 16;
  const SftLoader loader(examples_of(60, 9, 1), {}, kSeq, 5, kPad);
  std::set<std::set<int32_t>> first, second;
  for (uint64_t w = 0; w < loader.windows_per_epoch(); ++w) {
    for (const bool later : {false, true}) {
      std::set<int32_t> together;
      for (const auto& part :
           parts_of(window(loader, kSeq, w + (later ? loader.windows_per_epoch() : 0)), kPad))
        together.insert(part.first);
      (later ? second : first).insert(together);
    }
  }
  EXPECT_NE(first, second) << "other examples share a window";
  const SftLoader seeded(examples_of(60, 9, 1), {}, kSeq, 6, kPad);
  EXPECT_NE(window(seeded, kSeq, 0), window(loader, kSeq, 0));
  EXPECT_NE(seeded.fingerprint(), loader.fingerprint());
}

TEST(SftLoader, ScoresEachValidationTargetOnce) {
  constexpr size_t kSeq = 16;
  const SftLoader loader(examples_of(5, 9, 1), examples_of(33, 17, 2), kSeq, 5, kPad);
  uint64_t targets = 0;
  for (uint64_t w = 0; w < loader.validation_windows(); ++w) {
    const Window v = window(loader, kSeq, w, true);
    targets += kSeq - static_cast<uint64_t>(std::count(v.targets.begin(), v.targets.end(), -1));
  }
  EXPECT_EQ(targets, loader.validation_targets());
  EXPECT_GT(targets, 33u);
}

TEST(SftLoader, TellsAnotherMaskAndOtherTokensApart) {
  auto examples = examples_of(5, 9, 1);
  const uint64_t before = SftLoader(examples, {}, 16, 5, kPad).fingerprint();
  examples[0].scored[1] ^= 1;
  EXPECT_NE(SftLoader(examples, {}, 16, 5, kPad).fingerprint(), before);
  examples[0].scored[1] ^= 1;
  examples[0].ids[0] += 1;
  EXPECT_NE(SftLoader(examples, {}, 16, 5, kPad).fingerprint(), before);
}

TEST(SftLoader, RefusesWhatHasNoWindow) {
  EXPECT_TRUE(contains(error_of([] { SftLoader({}, {}, 16, 0, 0); }), "no example to train on"));
  EXPECT_TRUE(contains(error_of([] {
                         SftLoader({{{1, 2}, {0, 1}}}, {}, 0, 0, 0);
                       }),
                       "a sequence length of 0"));
  EXPECT_TRUE(contains(error_of([] {
                         SftLoader({{{1, 2, 3}, {0, 0, 1}}}, {}, 1, 0, 0);
                       }),
                       "3 tokens for a window of 1"));
}

}  // namespace
}  // namespace fathom
