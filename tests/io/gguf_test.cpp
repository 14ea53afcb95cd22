#include "io/gguf.h"

#include <cstring>

#include <gtest/gtest.h>

#include "io/dequantize.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

using test::TempFolder;

const std::filesystem::path kData = FATHOM_TEST_DATA "/io/data";

// Bytes of a file, put together by hand.
class Bytes {
 public:
  template <class T>
  Bytes& put(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  Bytes& string(const std::string& s) {
    put<uint64_t>(s.size());
    text_ += s;
    return *this;
  }
  Bytes& header(uint32_t version, uint64_t tensors, uint64_t pairs) {
    text_ += "GGUF";
    return put(version).put(tensors).put(pairs);
  }
  Bytes& tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
    string(name).put<uint32_t>(static_cast<uint32_t>(dims.size()));
    for (const uint64_t d : dims) put(d);
    return put(type).put(offset);
  }
  Bytes& pad(size_t alignment) {
    text_.append((alignment - text_.size() % alignment) % alignment, '\0');
    return *this;
  }
  Bytes& data(size_t n) {
    text_.append(n, '\1');
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void open_bytes(const TempFolder& folder, const Bytes& bytes) {
  write_text_file(folder / "x.gguf", bytes.text());
  GgufFile file(folder / "x.gguf");
}

TEST(Gguf, ReadsMetadataOfEveryType) {
  const GgufFile file(kData / "quants.gguf");
  const GgufMetadata& m = file.metadata();
  EXPECT_EQ(m.text("general.architecture"), "llama");
  EXPECT_EQ(m.size("general.alignment"), 64u);
  EXPECT_EQ(m.size("test.uint8"), 200u);
  EXPECT_EQ(m.integer("test.int8"), -100);
  EXPECT_EQ(m.size("test.uint16"), 60000u);
  EXPECT_EQ(m.integer("test.int16"), -30000);
  EXPECT_EQ(m.size("test.uint32"), 4000000000u);
  EXPECT_EQ(m.integer("test.int32"), -2000000000);
  EXPECT_EQ(m.size("test.uint64"), uint64_t{1} << 63);
  EXPECT_EQ(m.integer("test.int64"), -(int64_t{1} << 62));
  EXPECT_EQ(m.real("test.float32"), static_cast<double>(0.1f));
  EXPECT_EQ(m.real("test.float64"), 0.1);
  EXPECT_TRUE(m.boolean("test.bool"));
  EXPECT_EQ(m.text("test.string"), "tiefe Schichten: \u00e4\u00f6\u00fc");
  EXPECT_EQ(m.find("test.uint16")->type, GgufType::kUint16);
  EXPECT_EQ(m.integers("test.integers"), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(m.integers("test.bools"), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(m.texts("tokenizer.ggml.tokens"), (std::vector<std::string>{"<s>", "\u2581the", "\u0120a"}));
  EXPECT_EQ(m.reals("tokenizer.ggml.scores"), (std::vector<double>{0.0, -1.5, -2.0}));
  EXPECT_EQ(m.integers("tokenizer.ggml.token_type"), (std::vector<int64_t>{3, 1, 1}));
  const auto& nested =
      std::get<std::vector<GgufArray>>(std::get<GgufArray>(m.find("test.nested")->value).values);
  ASSERT_EQ(nested.size(), 2u);
  EXPECT_EQ(std::get<std::vector<int64_t>>(nested[0].values), (std::vector<int64_t>{1, 2}));
}

TEST(Gguf, NamesTheKeyThatIsMissingOrOfAnotherKind) {
  const GgufFile file(kData / "quants.gguf");
  const GgufMetadata& m = file.metadata();
  EXPECT_EQ(m.size("no.such", 7), 7u);
  EXPECT_EQ(m.text("no.such", "x"), "x");
  EXPECT_ERROR(m.size("no.such"), ErrorCode::kFailed, "quants.gguf", "'no.such' is missing");
  EXPECT_ERROR(m.size("test.int8"), ErrorCode::kFailed, "'test.int8'", "whole number from 0 up");
  EXPECT_ERROR(m.integer("test.uint64"), ErrorCode::kFailed, "'test.uint64'", "whole number");
  EXPECT_ERROR(m.text("test.bool"), ErrorCode::kFailed, "'test.bool'", "string");
  EXPECT_ERROR(m.texts("test.integers"), ErrorCode::kFailed, "'test.integers'", "array of strings");
  EXPECT_ERROR(m.reals("test.string"), ErrorCode::kFailed, "'test.string'", "array");
}

TEST(Gguf, TensorsHaveHuggingFaceOrderAndTheirBytes) {
  const GgufFile file(kData / "quants.gguf");
  EXPECT_EQ(file.at("Q4_K").shape, (std::vector<size_t>{2, 512}));
  EXPECT_EQ(file.at("Q4_K").type, StoredType::kQ4_K);
  EXPECT_EQ(file.at("Q4_K").size_bytes, 4u * 144);
  EXPECT_EQ(file.at("Q4_K").offset % 64, 0u);
  EXPECT_EQ(file.at("source").shape, (std::vector<size_t>{2, 96}));
  EXPECT_ERROR(file.at("nothing"), ErrorCode::kFailed, "quants.gguf", "'nothing'", "missing");
}

TEST(Gguf, DroppedPagesAreReadAgain) {
  const GgufFile file(kData / "quants.gguf");
  const TensorView& tensor = file.at("expected.Q6_K");
  const std::string before(reinterpret_cast<const char*>(tensor.data), tensor.size_bytes);
  tensor.drop();
  tensor.prefetch();
  EXPECT_EQ(std::memcmp(before.data(), tensor.data, tensor.size_bytes), 0);
}

TEST(Gguf, JoinsThePartsOfASplitFile) {
  const GgufFile file(kData / "split-00001-of-00003.gguf");
  EXPECT_EQ(file.tensors().size(), 4u);
  float values[6];
  read_tensor(values, file.at("t3"));
  EXPECT_EQ(values[5], 3.0f);
  EXPECT_EQ(file.metadata().text("general.architecture"), "llama");
}

TEST(Gguf, RefusesPartsThatDoNotBelongTogether) {
  const TempFolder f;
  const auto part = [](int i) { return "split-0000" + std::to_string(i) + "-of-00003.gguf"; };
  for (int i = 1; i <= 3; ++i) std::filesystem::copy(kData / part(i), f / part(i));
  EXPECT_ERROR(GgufFile(f / part(2)), ErrorCode::kFailed, part(2).c_str(), "part of 3", "first part");
  std::filesystem::copy(f / part(2), f / part(3), std::filesystem::copy_options::overwrite_existing);
  EXPECT_ERROR(GgufFile(f / part(1)), ErrorCode::kFailed, part(3).c_str(), "not part 3 of 3");
  std::filesystem::remove(f / part(3));
  EXPECT_ERROR(GgufFile(f / part(1)), ErrorCode::kFailed, part(3).c_str(), "No such file");
}

TEST(Gguf, RejectsBrokenHeaders) {
  const TempFolder f;
  const auto open = [&](const Bytes& bytes) { open_bytes(f, bytes); };
  open(Bytes().header(3, 0, 0));  // a valid file opens
  open(Bytes().header(2, 0, 0));
  EXPECT_ERROR(open(Bytes().data(3)), ErrorCode::kFailed, "x.gguf", "needs 4 bytes");
  EXPECT_ERROR(open(Bytes().data(40)), ErrorCode::kFailed, "not a GGUF file");
  EXPECT_ERROR(open(Bytes().header(1, 0, 0)), ErrorCode::kFailed, "version 1", "2 and 3");
  EXPECT_ERROR(open(Bytes().header(0x03000000, 0, 0)), ErrorCode::kFailed, "big-endian");
  EXPECT_ERROR(open(Bytes().header(3, uint64_t{1} << 60, 0)), ErrorCode::kFailed,
               "1152921504606846976 tensors");
  EXPECT_ERROR(open(Bytes().header(3, 0, 1000)), ErrorCode::kFailed, "1000 metadata entries");
}

TEST(Gguf, RejectsBrokenMetadata) {
  const TempFolder f;
  const auto open = [&](const Bytes& bytes) { open_bytes(f, bytes); };
  const auto pair = [](const std::string& key, uint32_t type) {
    return Bytes().header(3, 0, 1).string(key).put(type);
  };
  open(pair("k", 0).put<uint8_t>(1));
  EXPECT_ERROR(open(pair("k", 13).data(8)), ErrorCode::kFailed, "'k'", "unknown type 13");
  EXPECT_ERROR(open(pair("k", 7).put<uint8_t>(2)), ErrorCode::kFailed, "'k'", "bool of value 2");
  EXPECT_ERROR(open(pair("k", 10).put<uint32_t>(2)), ErrorCode::kFailed, "'k'", "needs 8 bytes", "4 left");
  EXPECT_ERROR(open(pair("k", 8).put<uint64_t>(50).data(9)), ErrorCode::kFailed, "'k'", "needs 50 bytes");
  EXPECT_ERROR(open(pair("k", 8).put(~uint64_t{0})), ErrorCode::kFailed, "'k'", "string of 184467440737");
  EXPECT_ERROR(open(pair("k", 9).put<uint32_t>(4).put(uint64_t{1} << 62).data(64)), ErrorCode::kFailed, "'k'",
               "4611686018427387904 elements");
  EXPECT_ERROR(open(Bytes()
                        .header(3, 0, 2)
                        .string("k")
                        .put<uint32_t>(0)
                        .put<uint8_t>(1)
                        .string("k")
                        .put<uint32_t>(0)
                        .put<uint8_t>(1)),
               ErrorCode::kFailed, "'k' stands twice");
  Bytes deep = pair("k", 9);
  for (int i = 0; i < 40; ++i) deep.put<uint32_t>(9).put<uint64_t>(1);
  EXPECT_ERROR(open(deep), ErrorCode::kFailed, "'k'", "deeper than 4");
  for (const uint32_t alignment : {0u, 24u, 1u << 30}) {
    EXPECT_ERROR(open(pair("general.alignment", 4).put(alignment)), ErrorCode::kFailed, "general.alignment",
                 "power of two");
  }
}

TEST(Gguf, RejectsTensorsThatDoNotFit) {
  const TempFolder f;
  const auto open = [&](const Bytes& bytes) { open_bytes(f, bytes); };
  const auto one = [](const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset, size_t bytes) {
    return Bytes().header(3, 1, 0).tensor("w", dims, type, offset).pad(32).data(bytes);
  };
  open(one({4, 2}, 0, 0, 32));
  open(one({}, 0, 0, 4));                      // a scalar
  open(one({0, uint64_t{1} << 60}, 0, 0, 0));  // empty, whatever the other dimension
  EXPECT_ERROR(open(one({4, 2}, 0, 0, 31)), ErrorCode::kFailed, "x.gguf", "'w'", "needs 32 bytes",
               "31 bytes");
  EXPECT_ERROR(open(one({4, 2}, 0, 32, 32)), ErrorCode::kFailed, "'w'", "needs 32 bytes at 32");
  EXPECT_ERROR(open(one({4, 2}, 0, 8, 64)), ErrorCode::kFailed, "'w'", "multiple of the alignment 32");
  EXPECT_ERROR(open(one({4, 2}, 0, ~uint64_t{31}, 64)), ErrorCode::kFailed, "'w'", "needs 32 bytes at");
  EXPECT_ERROR(open(one({4, 2}, 4, 0, 64)), ErrorCode::kFailed, "'w'", "unknown type 4");
  EXPECT_ERROR(open(one({33}, 2, 0, 64)), ErrorCode::kFailed, "'w'", "33 elements", "blocks of 32");
  EXPECT_ERROR(open(one({1, 1, 1, 1, 1}, 0, 0, 64)), ErrorCode::kFailed, "'w'", "5 dimensions");
  EXPECT_ERROR(open(one({uint64_t{1} << 32, uint64_t{1} << 32}, 2, 0, 64)), ErrorCode::kFailed, "'w'",
               "too large");
  EXPECT_ERROR(open(Bytes().header(3, 2, 0).tensor("w", {8}, 0, 0).tensor("w", {8}, 0, 32).pad(32).data(64)),
               ErrorCode::kFailed, "'w'", "stands twice");
  EXPECT_ERROR(open(Bytes().header(3, 2, 0).tensor("w", {16}, 0, 0).tensor("v", {8}, 0, 32).pad(32).data(64)),
               ErrorCode::kFailed, "'v'", "overlaps tensor 'w'");
}

}  // namespace
}  // namespace fathom
