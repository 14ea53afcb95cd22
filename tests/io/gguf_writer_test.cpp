#include "io/gguf_writer.h"

#include <cstdlib>
#include <cstring>

#include <gtest/gtest.h>

#include "core/rng.h"
#include "io/dequantize.h"
#include "io/quantize.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

using test::TempFolder;

std::vector<float> numbers(size_t n) {
  Rng rng(11);
  std::vector<float> values(n);
  for (float& v : values) v = static_cast<float>(rng.uniform()) - 0.5f;
  return values;
}

TEST(Quantize, Q8_0IsBitForBitWhatGgufPyMakesOfIt) {
  const GgufFile file(FATHOM_TEST_DATA "/io/data/quants.gguf");
  const TensorView& expected = file.at("Q8_0");
  std::vector<float> source(file.at("source").elements());
  read_tensor(source.data(), file.at("source"));
  std::vector<std::byte> out(expected.size_bytes);
  quantize_q8_0(out.data(), source.data(), source.size());
  EXPECT_EQ(std::memcmp(out.data(), expected.data, out.size()), 0);
}

TEST(GgufWriter, MetadataComesBackAsItWas) {
  const TempFolder f;
  GgufPairs pairs{{"general.architecture", gguf_string("llama")},
                  {"llama.block_count", gguf_uint32(12)},
                  {"llama.rope.freq_base", gguf_float32(1e6f)},
                  {"flag", gguf_bool(true)},
                  {"tokens", gguf_strings({"a", "", "\u2581b"})},
                  {"scores", gguf_float32s({0.5f, -3.0f})},
                  {"types", gguf_int32s({1, -6})}};
  // Values of every type, as another program wrote them.
  const GgufFile other(FATHOM_TEST_DATA "/io/data/quants.gguf");
  for (const auto& [key, value] : other.metadata().values()) {
    if (key.starts_with("test.")) pairs.emplace_back(key, value);
  }
  EXPECT_GT(pairs.size(), 20u);
  write_gguf(f / "x.gguf", pairs, {});
  const GgufFile file(f / "x.gguf");
  EXPECT_EQ(file.metadata().values().size(), pairs.size());
  for (const auto& [key, value] : pairs) {
    ASSERT_TRUE(file.metadata().has(key)) << key;
    EXPECT_EQ(*file.metadata().find(key), value) << key;
  }
}

TEST(GgufWriter, TensorsComeBackInEachType) {
  const TempFolder f;
  // More than one chunk of the writer, and a last row that does not fill one.
  const size_t rows = 1025, C = 1056;
  const std::vector<float> values = numbers(rows * C);
  std::vector<bf16> narrow(values.size());
  for (size_t i = 0; i < values.size(); ++i) narrow[i] = bf16(values[i]);
  write_gguf(f / "x.gguf", {},
             {{"odd", {3}, values.data(), DType::kF32, StoredType::kF32},
              {"f32", {rows, C}, values.data(), DType::kF32, StoredType::kF32},
              {"f16", {rows, C}, values.data(), DType::kF32, StoredType::kF16},
              {"bf16", {rows, C}, narrow.data(), DType::kBf16, StoredType::kBf16},
              {"q8", {rows, C}, values.data(), DType::kF32, StoredType::kQ8_0},
              {"empty", {0, C}, values.data(), DType::kF32, StoredType::kQ8_0}});
  const GgufFile file(f / "x.gguf");
  EXPECT_EQ(file.at("f32").shape, (std::vector<size_t>{rows, C}));
  EXPECT_EQ(file.at("empty").elements(), 0u);
  std::vector<float> out(rows * C);
  read_tensor(out.data(), file.at("f32"));
  EXPECT_EQ(out, values);
  read_tensor(out.data(), file.at("f16"));
  for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], values[i], 0x1p-12f) << i;
  read_tensor(out.data(), file.at("bf16"));
  for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], static_cast<float>(narrow[i])) << i;
  read_tensor(out.data(), file.at("q8"));
  // Half a step of the scale, at most 0.5 / 127, plus the scale's own rounding.
  for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], values[i], 0.5f / 127 * 0.52f + 0x1p-12f) << i;
}

// tests/parity/check_gguf.py names the file and reads it with gguf-py.
TEST(GgufWriter, WritesASampleForOtherReaders) {
  const TempFolder f;
  const char* wanted = std::getenv("FATHOM_GGUF_SAMPLE");
  const std::filesystem::path path = wanted != nullptr ? wanted : f / "sample.gguf";
  std::vector<float> values(128);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / 64 - 1;
  std::vector<GgufTensor> tensors;
  for (const StoredType type : {StoredType::kF32, StoredType::kF16, StoredType::kBf16, StoredType::kQ8_0})
    tensors.push_back({std::string(stored_type_name(type)), {2, 64}, values.data(), DType::kF32, type});
  write_gguf(path,
             {{"general.architecture", gguf_string("llama")},
              {"llama.block_count", gguf_uint32(12)},
              {"tokenizer.ggml.tokens", gguf_strings({"<s>", "\u2581a"})},
              {"tokenizer.ggml.token_type", gguf_int32s({3, 1})}},
             tensors);
  EXPECT_EQ(GgufFile(path).tensors().size(), 4u);
}

TEST(GgufWriter, RefusesWhatTheFormatDoesNotHold) {
  const TempFolder f;
  const float values[33] = {};
  const auto write = [&](std::vector<size_t> shape, DType memory, StoredType stored) {
    write_gguf(f / "x.gguf", {}, {{"w", std::move(shape), values, memory, stored}});
  };
  EXPECT_ERROR(write({33}, DType::kF32, StoredType::kQ8_0), ErrorCode::kFailed, "x.gguf", "'w'", "33", "32");
  EXPECT_ERROR(write({1, 1, 1, 1, 1}, DType::kF32, StoredType::kF32), ErrorCode::kFailed, "5 dimensions");
  EXPECT_ERROR(write({1}, DType::kF32, StoredType::kQ4_K), ErrorCode::kFailed, "'w'", "as Q4_K");
  EXPECT_ERROR(write({1}, DType::kF64, StoredType::kF32), ErrorCode::kFailed, "from fp64");
  const GgufTensor w{"w", {1}, values, DType::kF32, StoredType::kF32};
  EXPECT_ERROR(write_gguf(f / "x.gguf", {}, {w, w}), ErrorCode::kFailed, "'w'", "twice");
  EXPECT_ERROR(write_gguf(f / "x.gguf", {{"k", gguf_bool(true)}, {"k", gguf_bool(true)}}, {}),
               ErrorCode::kFailed, "'k'", "twice");
  EXPECT_TRUE(std::filesystem::is_empty(f.path()));  // nothing half written
}

}  // namespace
}  // namespace fathom
