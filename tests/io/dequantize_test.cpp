#include "io/dequantize.h"

#include <cmath>
#include <cstring>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "core/threads.h"
#include "io/checkpoint.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/small_floats.h"
#include "kernels/isa.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

using test::TempFolder;

constexpr StoredType kGgufTypes[] = {
    StoredType::kF16,  StoredType::kBf16, StoredType::kQ4_0,   StoredType::kQ4_1,  StoredType::kQ5_0,
    StoredType::kQ5_1, StoredType::kQ8_0, StoredType::kQ2_K,   StoredType::kQ3_K,  StoredType::kQ4_K,
    StoredType::kQ5_K, StoredType::kQ6_K, StoredType::kIQ4_NL, StoredType::kIQ4_XS};

// Runs fn under each instruction set that the machine has.
template <class Fn>
void on_each_isa(const Fn& fn) {
  const Isa before = active_isa();
  for (const Isa isa : available_isas()) {
    set_active_isa(isa);
    SCOPED_TRACE(isa_name(isa));
    fn();
  }
  set_active_isa(before);
}

bool same(float a, float b) { return std::isnan(a) ? std::isnan(b) : a == b; }

TEST(Dequantize, EveryTypeIsBitForBitWhatGgufPyMakesOfIt) {
  const GgufFile file(FATHOM_TEST_DATA "/io/data/quants.gguf");
  for (const StoredType type : kGgufTypes) {
    const std::string name(stored_type_name(type));
    SCOPED_TRACE(name);
    const StoredWeight weight = find_weight(file, name);
    EXPECT_EQ(weight.tensor->type, type);
    std::vector<float> expected(weight.tensor->elements()), out(expected.size());
    read_tensor(expected.data(), file.at("expected." + name));
    dequantize_rows_ref(out.data(), weight, 0, weight.tensor->rows());
    EXPECT_EQ(out, expected) << "reference";
    on_each_isa([&] {
      std::fill(out.begin(), out.end(), -7.0f);
      dequantize(out.data(), weight);
      EXPECT_EQ(out, expected);
    });
  }
}

// Bytes in memory as a tensor.
TensorView view_of(const std::vector<std::byte>& bytes, StoredType type, size_t rows, size_t C) {
  TensorView view;
  view.type = type;
  view.shape = {rows, C};
  view.data = bytes.data() + 1;  // aligned to nothing
  view.size_bytes = bytes.size() - 1;
  return view;
}

TEST(Dequantize, FastIsTheReferenceAtEverySizeTypeAndIsa) {
  Rng rng(3);
  for (int t = 0; t < static_cast<int>(StoredType::kI64); ++t) {
    const auto type = static_cast<StoredType>(t);
    SCOPED_TRACE(stored_type_name(type));
    const StoredTypeInfo& info = stored_type_info(type);
    for (const size_t blocks : {1u, 3u, 9u, 37u}) {
      const size_t rows = 5, C = blocks * info.block_elements;
      std::vector<std::byte> bytes(1 + rows * blocks * info.block_bytes);
      for (std::byte& b : bytes) b = static_cast<std::byte>(rng.next());
      const TensorView view = view_of(bytes, type, rows, C);
      const StoredWeight weight{.tensor = &view, .scales = nullptr, .block = {}};
      on_each_isa([&] {
        std::vector<float> fast(3 * C), plain(3 * C);
        std::vector<bf16> fast16(3 * C), plain16(3 * C);
        dequantize_rows(fast.data(), weight, 1, 3);
        dequantize_rows_ref(plain.data(), weight, 1, 3);
        dequantize_rows(fast16.data(), weight, 1, 3);
        dequantize_rows_ref(plain16.data(), weight, 1, 3);
        for (size_t i = 0; i < fast.size(); ++i) {
          ASSERT_TRUE(same(fast[i], plain[i])) << fast[i] << " for " << plain[i] << " at " << i;
          ASSERT_TRUE(same(static_cast<float>(fast16[i]), static_cast<float>(plain16[i]))) << i;
          ASSERT_TRUE(same(static_cast<float>(plain16[i]), static_cast<float>(bf16(plain[i])))) << i;
        }
      });
    }
  }
}

TEST(SmallFloats, Float8HasItsKnownValues) {
  EXPECT_EQ(e4m3_to_float(0x38), 1.0f);
  EXPECT_EQ(e4m3_to_float(0x7e), 448.0f);
  EXPECT_EQ(e4m3_to_float(0x01), 0x1p-9f);
  EXPECT_EQ(e4m3_to_float(0x08), 0x1p-6f);
  EXPECT_EQ(e4m3_to_float(0xb8), -1.0f);
  EXPECT_TRUE(std::isnan(e4m3_to_float(0x7f)));
  EXPECT_EQ(e5m2_to_float(0x3c), 1.0f);
  EXPECT_EQ(e5m2_to_float(0x7b), 57344.0f);
  EXPECT_EQ(e5m2_to_float(0x01), 0x1p-16f);
  EXPECT_TRUE(std::isinf(e5m2_to_float(0xfc)));
  EXPECT_TRUE(std::isnan(e5m2_to_float(0x7d)));
}

TEST(SmallFloats, EveryHalfComesBackAndMiddlesRoundToEven) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const float value = half_to_float(static_cast<uint16_t>(h));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
      continue;
    }
    ASSERT_EQ(float_to_half(value), h);
    if ((h & 0x7fff) >= 0x7bff) continue;
    // Halfway to the next one away from zero: the even one; a little beyond it: the next one.
    const float next = half_to_float(static_cast<uint16_t>(h + 1)), middle = value + (next - value) / 2;
    ASSERT_EQ(float_to_half(middle), h % 2 == 0 ? h : h + 1) << h;
    ASSERT_EQ(float_to_half(std::nextafter(middle, next)), h + 1) << h;
    ASSERT_EQ(float_to_half(std::nextafter(middle, value)), h) << h;
  }
  EXPECT_EQ(float_to_half(65519.0f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half(-1e30f), 0xfc00);
}

// A safetensors file of F8_E4M3 `w` (rows, C), all bytes 0x38 (1.0), and F32 scales 1, 2, 3, ...
std::filesystem::path write_float8(const TempFolder& folder, size_t rows, size_t C,
                                   const std::vector<size_t>& scale_shape, const std::string& scale_name) {
  using nlohmann::json;
  size_t n = 1;
  for (const size_t d : scale_shape) n *= d;
  const size_t split = rows * C;
  const json header = {
      {"w", {{"dtype", "F8_E4M3"}, {"shape", {rows, C}}, {"data_offsets", {0, split}}}},
      {scale_name, {{"dtype", "F32"}, {"shape", scale_shape}, {"data_offsets", {split, split + 4 * n}}}}};
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::string file(reinterpret_cast<const char*>(&length), 8);
  file += text + std::string(split, '\x38');
  for (size_t i = 0; i < n; ++i) {
    const auto scale = static_cast<float>(i + 1);
    file.append(reinterpret_cast<const char*>(&scale), 4);
  }
  write_text_file(folder / "model.safetensors", file);
  return folder / "model.safetensors";
}

TEST(Dequantize, ScalesBlocksOfFloat8) {
  const TempFolder f;
  const size_t rows = 5, C = 41;  // blocks of 2 x 16: 3 x 3, the last ones cut
  const SafetensorsFile file(write_float8(f, rows, C, {3, 3}, "w_scale_inv"));
  const StoredWeight weight = find_weight(file, "w", {.rows = 2, .columns = 16});
  on_each_isa([&] {
    std::vector<float> out(rows * C);
    dequantize(out.data(), weight);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < C; ++c)
        ASSERT_EQ(out[r * C + c], static_cast<float>(r / 2 * 3 + c / 16 + 1)) << r << ", " << c;
    }
    std::vector<float> row(C);
    dequantize_rows(row.data(), weight, 4, 1);
    EXPECT_EQ(row[40], 9.0f);
  });
}

TEST(Dequantize, RefusesScalesThatDoNotFit) {
  const TempFolder f;
  const SafetensorsFile file(write_float8(f, 4, 32, {2, 2}, "w_scale_inv"));
  find_weight(file, "w", {.rows = 2, .columns = 16});
  EXPECT_ERROR(find_weight(file, "w"), ErrorCode::kFailed, "'w_scale_inv'", "shape [2, 2], expected [1, 1]",
               "128 x 128 of [4, 32]");
  EXPECT_ERROR(find_weight(file, "w", {.rows = 0, .columns = 16}), ErrorCode::kFailed, "side 0");
  const SafetensorsFile other(write_float8(f, 4, 32, {4, 1}, "w_scale"));
  EXPECT_ERROR(find_weight(other, "w"), ErrorCode::kFailed, "'w'", "w_scale beside it");
}

TEST(Dequantize, RefusesIntegersAsWeights) {
  const TempFolder f;
  const std::string header = R"({"w":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})";
  const uint64_t length = header.size();
  write_text_file(f / "x.safetensors",
                  std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(8, '\1'));
  const SafetensorsFile file(f / "x.safetensors");
  EXPECT_EQ(file.at("w").type, StoredType::kI64);
  EXPECT_ERROR(find_weight(file, "w"), ErrorCode::kFailed, "x.safetensors", "'w'", "type I64", "Q4_K");
}

TEST(QuantizationConfig, GivesTheBlocksOfDeepSeek) {
  using nlohmann::json;
  const auto read = [](const json& q) {
    return block_shape_from_json(json{{"quantization_config", q}}, "a/config.json");
  };
  EXPECT_EQ(read({{"quant_method", "fp8"}, {"weight_block_size", {64, 32}}}).rows, 64u);
  EXPECT_EQ(read({{"quant_method", "fp8"}, {"weight_block_size", {64, 32}}}).columns, 32u);
  EXPECT_EQ(read({{"quant_method", "fp8"}}).rows, 128u);
  EXPECT_EQ(block_shape_from_json(json::object(), "x").columns, 128u);
  EXPECT_ERROR(read({{"quant_method", "gptq"}}), ErrorCode::kFailed, "a/config.json", "gptq");
  EXPECT_ERROR(read({{"quant_method", "fp8"}, {"weight_block_size", {0, 32}}}), ErrorCode::kFailed,
               "weight_block_size");
  EXPECT_ERROR(read({{"quant_method", "fp8"}, {"weight_block_size", {128}}}), ErrorCode::kFailed,
               "weight_block_size");
}

}  // namespace
}  // namespace fathom
