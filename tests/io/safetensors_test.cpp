#include "io/safetensors.h"

#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "core/rng.h"
#include "io/dequantize.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

using test::TempFolder;

// A file with the given header text and number of data bytes.
std::filesystem::path make_file(const TempFolder& folder, const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string text(reinterpret_cast<const char*>(&length), 8);
  text += header + std::string(data_bytes, '\x01');
  write_text_file(folder / "x.safetensors", text);
  return folder / "x.safetensors";
}

TEST(Safetensors, WrittenValuesReadBack) {
  const TempFolder folder;
  const std::vector<float> a{1.0f, -2.5f, std::numeric_limits<float>::infinity(), 1e-30f, 3.14159f, 0.0f};
  const std::vector<double> b{1.0 / 3.0, -7.0};
  write_safetensors(folder / "x.safetensors",
                    {{"a", {2, 3}, a.data(), DType::kF32, DType::kF32},
                     {"a16", {6}, a.data(), DType::kF32, DType::kBf16},
                     {"empty", {0, 4}, a.data(), DType::kF32, DType::kF32},
                     {"b", {2}, b.data(), DType::kF64, DType::kF64},
                     {"b32", {2}, b.data(), DType::kF64, DType::kF32}},
                    {{"format", "pt"}});
  const SafetensorsFile file(folder / "x.safetensors");
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.at("a").shape, (std::vector<size_t>{2, 3}));
  EXPECT_EQ(file.at("empty").elements(), 0u);
  std::vector<float> read(6);
  read_tensor(read.data(), file.at("a"));
  EXPECT_EQ(read, a);
  read_tensor(read.data(), file.at("a16"));
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(read[i], static_cast<float>(bf16(a[i])));
  std::vector<double> wide(2);
  read_tensor(wide.data(), file.at("b"));
  EXPECT_EQ(wide, b);
  read_tensor(wide.data(), file.at("b32"));
  EXPECT_EQ(wide[0], static_cast<double>(static_cast<float>(b[0])));
  EXPECT_ERROR(file.at("c"), ErrorCode::kFailed, "x.safetensors", "'c'", "missing");
}

TEST(Safetensors, ReadsHalfPrecision) {
  const TempFolder folder;
  // 1.0, -2.0, largest, smallest subnormal, infinity, and a NaN.
  const uint16_t halves[] = {0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00, 0x7e00};
  std::string data(reinterpret_cast<const char*>(halves), sizeof(halves));
  const std::string header = R"({"h":{"dtype":"F16","shape":[6],"data_offsets":[0,12]}})";
  const uint64_t length = header.size();
  write_text_file(folder / "h.safetensors",
                  std::string(reinterpret_cast<const char*>(&length), 8) + header + data);
  const SafetensorsFile file(folder / "h.safetensors");
  float out[6];
  read_tensor(out, file.at("h"));
  EXPECT_EQ(out[0], 1.0f);
  EXPECT_EQ(out[1], -2.0f);
  EXPECT_EQ(out[2], 65504.0f);
  EXPECT_EQ(out[3], 0x1p-24f);
  EXPECT_TRUE(std::isinf(out[4]));
  EXPECT_TRUE(std::isnan(out[5]));
}

TEST(Safetensors, RejectsBrokenFiles) {
  const TempFolder f;
  const auto open = [&](const std::string& header, size_t bytes) {
    SafetensorsFile file(make_file(f, header, bytes));
  };
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return "{\"w\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
  };
  open(one("F32", "[2]", "[0,8]"), 8);  // a valid file opens
  EXPECT_ERROR(open("not json", 0), ErrorCode::kFailed, "x.safetensors", "byte 8", "JSON");
  EXPECT_ERROR(open("[]", 0), ErrorCode::kFailed, "JSON object");
  EXPECT_ERROR(open(one("F32", "[2]", "[0,8]"), 4), ErrorCode::kFailed, "'w'", "bytes 0 to 8 of 4");
  EXPECT_ERROR(open(one("F32", "[3]", "[0,8]"), 8), ErrorCode::kFailed, "'w'", "needs 12 bytes", "give 8");
  EXPECT_ERROR(open(one("F32", "[2]", "[8,0]"), 8), ErrorCode::kFailed, "'w'");
  EXPECT_ERROR(open(one("F32", "[-2]", "[0,8]"), 8), ErrorCode::kFailed, "'w'", "whole numbers");
  EXPECT_ERROR(open(one("F32", "[1.5]", "[0,8]"), 8), ErrorCode::kFailed, "'w'", "whole numbers");
  EXPECT_ERROR(open(one("X9", "[2]", "[0,8]"), 8), ErrorCode::kFailed, "unknown type 'X9'");
  EXPECT_ERROR(open(one("F32", "[4294967296,4294967296]", "[0,8]"), 8), ErrorCode::kFailed, "too large");
  EXPECT_ERROR(open(one("F32", "[2]", "[0]"), 8), ErrorCode::kFailed, "'w'");
  EXPECT_ERROR(open(one("F32", "[2]", "[0,8]"), 9), ErrorCode::kFailed, "behind the last");
  EXPECT_ERROR(open(one("F32", "[1]", "[4,8]"), 8), ErrorCode::kFailed, "no tensor");
  EXPECT_ERROR(
      open(
          R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
          6),
      ErrorCode::kFailed, "overlap");
  EXPECT_ERROR(
      open(
          R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
          4),
      ErrorCode::kFailed, "'a' twice");
  write_text_file(f / "short", "1234");
  EXPECT_ERROR(SafetensorsFile(f / "short"), ErrorCode::kFailed, "has 4 bytes");
  write_text_file(f / "long", std::string(8, '\xff') + "{}");
  EXPECT_ERROR(SafetensorsFile(f / "long"), ErrorCode::kFailed, "header is said to have");
  EXPECT_ERROR(SafetensorsFile(f / "none"), ErrorCode::kFailed, "No such file");
}

// Damage at random places must end in an Error or in a file that opens, never in a crash (the sanitizers
// watch).
TEST(Safetensors, SurvivesRandomDamage) {
  const TempFolder folder;
  const std::vector<float> a(24, 0.5f);
  write_safetensors(folder / "x.safetensors", {{"a", {4, 6}, a.data(), DType::kF32, DType::kF32},
                                               {"b", {24}, a.data(), DType::kF32, DType::kBf16}});
  const std::string good = read_text_file(folder / "x.safetensors");
  Rng rng(7);
  size_t refused = 0;
  for (int round = 0; round < 300; ++round) {
    std::string bad = good.substr(0, round % 3 == 0 ? rng.below(good.size()) : good.size());
    for (uint64_t i = 0; i < 1 + rng.below(4) && !bad.empty(); ++i) {
      bad[rng.below(std::min<size_t>(bad.size(), 200))] = static_cast<char>(rng.next());
    }
    write_text_file(folder / "bad.safetensors", bad);
    try {
      const SafetensorsFile file(folder / "bad.safetensors");
      for (const auto& [name, tensor] : file.tensors()) {
        std::vector<float> out(tensor.elements());
        read_tensor(out.data(), tensor);
      }
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 200u);
}

}  // namespace
}  // namespace fathom
