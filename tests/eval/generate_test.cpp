#include "eval/generate.h"

#include <map>

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace fathom {
namespace {

ModelConfig tiny() {
  ModelConfig c;
  c.hidden_size = 16;
  c.intermediate_size = 24;
  c.num_hidden_layers = 3;
  c.num_attention_heads = 2;
  c.num_key_value_heads = 1;
  c.head_dim = 8;
  c.vocab_size = 23;
  c.max_position_embeddings = 12;
  c.initializer_range = 0.5;  // large, so that logits differ clearly
  c.norm.type = NormType::kLns;
  return c;
}

TEST(SampleToken, ObeysTemperatureTopKAndTopP) {
  const std::vector<float> logits{0.0f, 2.0f, 1.0f, 2.0f, -50.0f};
  Rng rng(1);
  EXPECT_EQ(sample_token(logits, {.temperature = 0}, rng), 1);  // the first of two equals
  EXPECT_EQ(rng.counter(), 0u);
  std::map<int32_t, int> seen;
  for (int i = 0; i < 4000; ++i) seen[sample_token(logits, {.temperature = 1, .top_k = 3}, rng)]++;
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen.count(0), 0u);
  EXPECT_NEAR(static_cast<double>(seen[2]) / seen[1], 0.3679, 0.06);  // e^-1
  seen.clear();
  for (int i = 0; i < 1000; ++i) seen[sample_token(logits, {.temperature = 1, .top_p = 0.5}, rng)]++;
  EXPECT_EQ(seen.size(), 2u);  // 0.396 alone is below 0.5
  seen.clear();
  for (int i = 0; i < 200; ++i) seen[sample_token(logits, {.temperature = 1, .top_p = 1e-9}, rng)]++;
  EXPECT_EQ(seen.size(), 1u);
}

TEST(SampleToken, RejectsSettingsOutOfRange) {
  EXPECT_ERROR(validate(SamplingSettings{.temperature = -1}), ErrorCode::kUsage, "--temperature");
  EXPECT_ERROR(validate(SamplingSettings{.top_p = 0}), ErrorCode::kUsage, "--top-p");
}

TEST(Generate, GreedyWithCacheEqualsFullForwards) {
  const ModelConfig c = tiny();
  ResidentWeights<float> weights(c);
  initialize(weights.values(), weights.list(), 5);
  Transformer<float> model(c, weights);
  const std::vector<int32_t> prompt{1, 7, 3};
  const auto output = generate(model, std::span<const int32_t>(prompt), 6, -1, {.temperature = 0});
  ASSERT_EQ(output.size(), 6u);
  std::vector<int32_t> ids = prompt;
  for (const int32_t expected : output) {
    const Batch batch{1, ids.size(), ids.data(), nullptr, nullptr};
    Buffer<float> x(ids.size() * c.hidden_size);
    std::vector<float> logits(ids.size() * c.vocab_size);
    model.embed(x.data(), batch);
    model.run(x.data(), whole_program<float>(c.num_hidden_layers), batch);
    model.logits(logits.data(), x.data(), ids.size());
    const auto* last = logits.data() + (ids.size() - 1) * c.vocab_size;
    EXPECT_EQ(std::max_element(last, last + c.vocab_size) - last, expected);
    ids.push_back(expected);
  }
}

TEST(Generate, StopsAtEosAtTheContextAndOnRequest) {
  const ModelConfig c = tiny();
  ResidentWeights<float> weights(c);
  initialize(weights.values(), weights.list(), 5);
  Transformer<float> model(c, weights);
  const std::vector<int32_t> prompt{1, 7, 3};
  const SamplingSettings sampling{.temperature = 1, .seed = 9};
  const auto all = generate(model, std::span<const int32_t>(prompt), 100, -1, sampling);
  EXPECT_EQ(all.size(), c.max_position_embeddings - prompt.size() + 1);
  EXPECT_EQ(all, generate(model, std::span<const int32_t>(prompt), 100, -1, sampling));
  const auto until = generate(model, std::span<const int32_t>(prompt), 100, all[4], sampling);
  EXPECT_LE(until.size(), 4u);
  // Rows that a model has beyond its tokenizer are never drawn.
  const SamplingSettings known{.temperature = 5, .seed = 9, .vocab_size = 4};
  for (const int32_t id : generate(model, std::span<const int32_t>(prompt), 100, -1, known)) EXPECT_LT(id, 4);
  size_t heard = 0;
  generate(model, std::span<const int32_t>(prompt), 100, -1, sampling, [&](int32_t) { return ++heard < 3; });
  EXPECT_EQ(heard, 3u);
  EXPECT_ERROR(generate(model, std::span<const int32_t>(), 5, -1, sampling), ErrorCode::kUsage, "empty");
  const std::vector<int32_t> long_prompt(13, 1), foreign{99};
  EXPECT_ERROR(generate(model, std::span<const int32_t>(long_prompt), 5, -1, sampling), ErrorCode::kFailed,
               "context of 12", "13 tokens");
  EXPECT_ERROR(generate(model, std::span<const int32_t>(foreign), 5, -1, sampling), ErrorCode::kFailed, "99",
               "vocabulary");
}

}  // namespace
}  // namespace fathom
