// Examples that share a window do not see one another: the model's losses are those of each example alone.

#include <gtest/gtest.h>

#include "kernels/cross_entropy.h"
#include "support/tiny_model.h"
#include "text/sft_loader.h"

namespace fathom {
namespace {

constexpr size_t kSeq = 48;

std::vector<SftExample> random_examples(size_t n, size_t vocab_size) {
  Rng rng(11);
  std::vector<SftExample> examples(n);
  for (SftExample& e : examples) {
    for (uint64_t left = 3 + rng.below(20); left > 0; --left) {
      e.ids.push_back(static_cast<int32_t>(rng.below(vocab_size)));
      e.scored.push_back(e.ids.size() > 1 && rng.below(2) == 0);
    }
    e.scored.back() = 1;
  }
  return examples;
}

/// The losses of an example's targets, computed without any other.
std::vector<double> losses_alone(Transformer<float>& model, const SftExample& e) {
  std::vector<int32_t> targets(e.ids.size() - 1, kIgnoredTarget);
  for (size_t i = 0; i < targets.size(); ++i) {
    if (e.scored[i + 1]) targets[i] = e.ids[i + 1];
  }
  std::vector<double> nll(targets.size());
  model.forward(nll.data(), {1, targets.size(), e.ids.data(), targets.data(), nullptr});
  return nll;
}

const SftExample* example_at(const std::vector<SftExample>& examples, const int32_t* inputs,
                             size_t positions) {
  for (const SftExample& e : examples) {
    if (e.ids.size() == positions + 1 && std::equal(e.ids.begin(), e.ids.end() - 1, inputs)) return &e;
  }
  return nullptr;
}

TEST(SftPacking, LeavesEachExamplesLossesAsTheyAreAlone) {
  test::TinyModel<float> tiny(test::tiny_config(NormType::kLns));
  const auto examples = random_examples(12, 37);
  const SftLoader loader(examples, {}, kSeq, 3, 0);
  size_t compared = 0, packed = 0;
  for (uint64_t w = 0; w < loader.windows_per_epoch(); ++w) {
    std::vector<int32_t> inputs(kSeq), targets(kSeq), first_key(kSeq);
    loader.window(w, inputs.data(), targets.data(), first_key.data());
    std::vector<double> nll(kSeq), leaking(kSeq);
    tiny.model.forward(nll.data(), {1, kSeq, inputs.data(), targets.data(), first_key.data()});
    tiny.model.forward(leaking.data(), {1, kSeq, inputs.data(), targets.data(), nullptr});
    for (size_t begin = 0, end; begin < kSeq; begin = end) {
      for (end = begin; end < kSeq && first_key[end] == first_key[begin];) ++end;
      const SftExample* const e = example_at(examples, &inputs[begin], end - begin);
      if (!e) {
        EXPECT_EQ(end - begin, 1u) << "neither an example nor padding";
        continue;
      }
      const std::vector<double> alone = losses_alone(tiny.model, *e);
      for (size_t i = 0; i < alone.size(); ++i) EXPECT_NEAR(nll[begin + i], alone[i], 1e-4 * (1 + alone[i]));
      compared += alone.size();
      if (begin > 0) packed += std::abs(leaking[end - 1] - nll[end - 1]) > 1e-3;
    }
  }
  EXPECT_EQ(compared, loader.tokens());
  EXPECT_GT(packed, 3u) << "without first_key the examples would see one another: the test can fail";
}

}  // namespace
}  // namespace fathom
