// Families' models written as GGUF, as llama.cpp's converter writes them, must compute the logits of
// transformers that stand beside their Hugging Face folders.

#include "io/gguf_model.h"

#include <algorithm>
#include <cmath>
#include <list>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "io/checkpoint.h"
#include "io/gguf_writer.h"
#include "io/rope_permutation.h"
#include "support/expect_error.h"
#include "support/gguf_metadata.h"
#include "support/streamed.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using test::TempFolder;

const fs::path kFamilies = fs::path(FATHOM_TEST_DATA) / "parity" / "families";

GgufPairs metadata_of(const ModelConfig& c, const std::string& arch) {
  const auto u32 = [](size_t n) { return gguf_uint32(static_cast<uint32_t>(n)); };
  const auto f32 = [](double x) { return gguf_float32(static_cast<float>(x)); };
  GgufPairs meta = test::gguf_metadata_of(c, arch);
  if (c.sliding_window > 0) meta.emplace_back(arch + ".attention.sliding_window", u32(c.sliding_window));
  if (c.attention_softcap > 0) meta.emplace_back(arch + ".attn_logit_softcapping", f32(c.attention_softcap));
  if (c.final_softcap > 0) meta.emplace_back(arch + ".final_logit_softcapping", f32(c.final_softcap));
  if (c.rope_scaling.type == RopeScaling::Type::kYarn || c.rope_scaling.type == RopeScaling::Type::kLinear) {
    meta.emplace_back(arch + ".rope.scaling.type", gguf_string(rope_scaling_name(c.rope_scaling.type)));
    meta.emplace_back(arch + ".rope.scaling.factor", f32(c.rope_scaling.factor));
    if (c.rope_scaling.original_context > 0)
      meta.emplace_back(arch + ".rope.scaling.original_context_length",
                        u32(static_cast<size_t>(c.rope_scaling.original_context)));
  }
  return meta;
}

// Llama 3's scaling as the list of divisors that the converter makes of it.
std::vector<float> rope_factors(const ModelConfig& c) {
  const auto plain = rope_frequencies(c.head_dim, c.rope_theta);
  const auto scaled = scaled_frequencies(c.head_dim, c.rope_theta, c.rope_scaling);
  std::vector<float> factors;
  for (size_t i = 0; i < plain.radians.size(); ++i)
    factors.push_back(static_cast<float>(plain.radians[i] / scaled.radians[i]));
  return factors;
}

void write_as_gguf(const fs::path& path, const ResidentWeights<float>& weights, const std::string& arch) {
  const ModelConfig& c = weights.config();
  std::vector<GgufTensor> tensors;
  std::list<std::vector<float>> permuted;
  for (const ParamSpec& spec : weights.list()) {
    const float* values = weights.values() + spec.offset;
    const bool q_or_k = spec.role == ParamRole::kQ || spec.role == ParamRole::kK;
    if (arch == "llama" && q_or_k) {
      permuted.emplace_back(spec.size());
      permute_qk(permuted.back().data(), values, spec.shape[0], spec.shape[1], c.head_dim);
      values = permuted.back().data();
    }
    tensors.push_back({spec.gguf_name, spec.shape, values, DType::kF32, StoredType::kF32});
  }
  if (c.rope_scaling.type == RopeScaling::Type::kLlama3) {
    permuted.push_back(rope_factors(c));
    tensors.push_back(
        {"rope_freqs.weight", {c.head_dim / 2}, permuted.back().data(), DType::kF32, StoredType::kF32});
  }
  write_gguf(path, metadata_of(c, arch), tensors);
}

struct Case {
  std::string folder, arch;
};

class GgufModelOf : public testing::TestWithParam<Case> {};

TEST_P(GgufModelOf, ComputesTransformersLogits) {
  const TempFolder scratch;
  const fs::path folder = kFamilies / GetParam().folder, path = scratch / "model.gguf";
  {
    ResidentWeights<float> weights(read_config(folder));
    load_weights(weights, folder);
    write_as_gguf(path, weights, GetParam().arch);
  }
  EXPECT_EQ(resolve_model(path), path);
  // The fixtures' scale of scores is their own; a GGUF leaves it to the family.
  ModelConfig config = read_config(path);
  const ModelConfig original = read_config(folder);
  EXPECT_EQ(config.family, original.family);  // what a GGUF calls llama and has a window is a Mistral
  config.query_pre_attn_scalar = original.query_pre_attn_scalar;
  if (original.family == "gemma2") {
    EXPECT_EQ(config.windowed, original.windowed);
  }
  ResidentWeights<float> weights(config);
  load_weights(weights, path);
  Transformer<float> model(config, weights);

  const auto expected = read_json(folder / "expected.json");
  const auto tokens = expected["tokens"][0].get<std::vector<int32_t>>();
  const Batch batch{1, tokens.size(), tokens.data(), nullptr, nullptr};
  std::vector<float> x(tokens.size() * config.hidden_size), logits(tokens.size() * config.vocab_size);
  model.embed(x.data(), batch);
  model.run(x.data(), whole_program<float>(config.num_hidden_layers), batch);
  model.logits(logits.data(), x.data(), batch.rows());
  double largest = 0, worst = 0;
  size_t i = 0;
  for (const auto& row : expected["logits"][0]) {
    for (const auto& value : row) {
      largest = std::max(largest, std::abs(value.get<double>()));
      const double d = std::abs(static_cast<double>(logits[i++]) - value.get<double>());
      worst = std::isnan(d) ? INFINITY : std::max(worst, d);
    }
  }
  EXPECT_LT(worst, 1e-4 * largest);
}

TEST_P(GgufModelOf, StreamedEqualsTheResidentModelBitForBit) {
  const TempFolder scratch;
  const fs::path path = scratch / "model.gguf";
  {
    const fs::path folder = kFamilies / GetParam().folder;
    ResidentWeights<float> weights(read_config(folder));
    load_weights(weights, folder);
    write_as_gguf(path, weights, GetParam().arch);
  }
  const std::vector<int32_t> tokens{1, 5, 7, 2, 9, 4, 3, 8, 6, 0};
  const Batch batch{2, 5, tokens.data(), nullptr, nullptr};
  test::expect_same_when_streamed<float>(path, read_config(path), batch);
  test::expect_same_when_streamed<bf16>(path, read_config(path), batch);
}

INSTANTIATE_TEST_SUITE_P(Families, GgufModelOf,
                         testing::Values(Case{"llama", "llama"}, Case{"llama3-rope", "llama"},
                                         Case{"linear-rope", "llama"}, Case{"yarn-rope", "llama"},
                                         Case{"mistral", "llama"}, Case{"qwen2", "qwen2"},
                                         Case{"qwen3", "qwen3"}, Case{"olmo2", "olmo2"},
                                         Case{"gemma2", "gemma2"}),
                         [](const auto& info) {
                           std::string name = info.param.folder;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// A valid file's metadata with one key changed.
void expect_refused(const std::string& key, const GgufValue& value, const char* part) {
  const TempFolder scratch;
  const fs::path folder = kFamilies / "llama", path = scratch / "model.gguf";
  ResidentWeights<float> weights(read_config(folder));
  GgufPairs meta = metadata_of(weights.config(), "llama");
  std::erase_if(meta, [&](const auto& pair) { return pair.first == key; });
  meta.emplace_back(key, value);
  std::vector<GgufTensor> tensors;
  for (const ParamSpec& spec : weights.list())
    tensors.push_back(
        {spec.gguf_name, spec.shape, weights.values() + spec.offset, DType::kF32, StoredType::kF32});
  write_gguf(path, meta, tensors);
  EXPECT_ERROR(
      {
        ResidentWeights<float> read(read_config(path));
        load_weights(read, path);
      },
      ErrorCode::kFailed, "model.gguf", part);
}

TEST(GgufModel, RefusesWhatDoesNotFitInOneLine) {
  expect_refused("general.architecture", gguf_string("gpt2"),
                 "'gpt2', which is not supported; supported: llama");
  expect_refused("general.architecture", gguf_string("deepseek2"),
                 "latent attention and mixtures of experts");
  expect_refused("general.architecture", gguf_string("qwen3moe"),
                 "(mixtures of experts are not computed yet)");
  expect_refused("llama.expert_count", gguf_uint32(8), "mixtures of experts");
  expect_refused("llama.rope.dimension_count", gguf_uint32(4), "rope.dimension_count");
  expect_refused("llama.attention.value_length", gguf_uint32(16), "value_length");
  expect_refused("llama.attention.head_count", gguf_uint32(0), "head_count");
  expect_refused("llama.feed_forward_length", gguf_uint32(44), "the metadata ask for [44, 32]");
  expect_refused("llama.block_count", gguf_uint32(5), "blk.4.");
  expect_refused("llama.block_count", gguf_uint32(3), "not part of the model");
  expect_refused("llama.context_length", gguf_string("long"), "context_length");
}

}  // namespace
}  // namespace fathom
