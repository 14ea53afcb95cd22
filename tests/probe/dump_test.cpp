// Dumps: each row is the raw stream of its layer and token, whatever the batches.

#include "probe/dump.h"

#include <cstring>

#include <gtest/gtest.h>

#include "core/file.h"
#include "io/safetensors.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::TempFolder;
const TokenSequences kSequences{{1, 5, 7, 9, 30}, {2, 4, 6}, {3, 3, 8, 11}};

struct Npy {
  std::string header;
  std::vector<float> values;
};

Npy read_npy(const std::filesystem::path& path) {
  const std::string bytes = read_text_file(path);
  const size_t length = static_cast<unsigned char>(bytes[8]) + 256u * static_cast<unsigned char>(bytes[9]);
  Npy npy{bytes.substr(0, 10 + length), {}};
  npy.values.resize((bytes.size() - npy.header.size()) / sizeof(float));
  std::memcpy(npy.values.data(), bytes.data() + npy.header.size(), npy.values.size() * sizeof(float));
  return npy;
}

class Dump : public testing::TestWithParam<NormType> {
 protected:
  Dump() : tiny_(tiny_config(GetParam())) {}
  DumpResult dump(const std::string& layers, const std::vector<std::string>& points,
                  const std::string& positions, const std::string& name, size_t batch = 2) {
    NoProgress none;
    return dump_streams(tiny_.model, kSequences, parse_positions(positions, kSequences),
                        parse_dump_entries(layers, points, 4), batch, f_ / name, none);
  }
  // The stream of one sequence after the program's first `layers` layers.
  std::vector<float> stream(size_t sequence, size_t layers) {
    const auto& ids = kSequences[sequence];
    const Batch batch{1, ids.size(), ids.data(), nullptr, nullptr};
    std::vector<float> x(ids.size() * 24);
    tiny_.model.embed(x.data(), batch);
    tiny_.model.run(x.data(), whole_program<float>(layers), batch);
    return x;
  }
  TempFolder f_;
  TinyModel<float> tiny_;
};

// Trap 7: the last layer's stream is before the final norm.
TEST_P(Dump, RowsAreTheRawStreamOfEachLayerAndToken_Trap7) {
  const DumpResult r = dump("all", {"layer"}, "all", "all.npy");
  EXPECT_EQ(r.shape, (std::vector<size_t>{5, 12, 24}));
  const Npy npy = read_npy(f_ / "all.npy");
  EXPECT_EQ(npy.header.size() % 64, 0u);
  EXPECT_EQ(npy.header.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_NE(npy.header.find("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 12, 24,), }"),
            std::string::npos);
  EXPECT_EQ(npy.header.back(), '\n');
  ASSERT_EQ(npy.values.size(), 5u * 12 * 24);
  for (size_t l = 0; l <= 4; ++l) {
    const float* at = npy.values.data() + l * 12 * 24;
    for (size_t s = 0; s < 3; ++s) {
      const std::vector<float> x = stream(s, l);
      for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(at[i], x[i], 1e-5) << l << " " << s << " " << i;
      at += x.size();
    }
  }
}

TEST_P(Dump, PositionsAndPointsAreWhatWasAskedFor) {
  dump("all", {"layer"}, "all", "all.npy", 3);
  const std::vector<float> all = read_npy(f_ / "all.npy").values;
  const DumpResult r =
      dump("embedding,2-3", {"mlp", "attn", "attn_update", "mlp_update"}, "last", "x.safetensors", 1);
  EXPECT_EQ(r.rows, 3u);
  const SafetensorsFile file(f_ / "x.safetensors");
  const auto read = [&](const std::string& name) {
    std::vector<float> values(file.at(name).elements());
    std::memcpy(values.data(), file.at(name).data, file.at(name).size_bytes);
    return values;
  };
  EXPECT_EQ(file.tensors().size(), 1u + 2 * 4 + 3);
  EXPECT_EQ(file.at("layer.3").shape, (std::vector<size_t>{3, 24}));
  const size_t last[] = {4, 7, 11};  // rows of `all`
  for (size_t s = 0; s < 3; ++s) {
    for (size_t i = 0; i < 24; ++i) {
      const auto at = [&](size_t l) { return all[(l * 12 + last[s]) * 24 + i]; };
      EXPECT_NEAR(read("embedding")[s * 24 + i], at(0), 1e-5);
      EXPECT_NEAR(read("layer.2")[s * 24 + i], at(2), 1e-5);
      EXPECT_NEAR(read("layer.3.attn")[s * 24 + i] - read("layer.3.attn_update")[s * 24 + i], at(2), 1e-5);
      EXPECT_NEAR(read("layer.3.attn")[s * 24 + i] + read("layer.3.mlp_update")[s * 24 + i], at(3), 1e-5);
    }
  }
  int64_t ids[3], sequence[3], position[3];
  std::memcpy(ids, file.at("token_ids").data, sizeof(ids));
  std::memcpy(sequence, file.at("sequence").data, sizeof(ids));
  std::memcpy(position, file.at("position").data, sizeof(ids));
  EXPECT_EQ(ids[1], 6);
  EXPECT_EQ(sequence[2], 2);
  EXPECT_EQ(position[0], 4);
}

INSTANTIATE_TEST_SUITE_P(Schemes, Dump, testing::Values(NormType::kLns, NormType::kPost, NormType::kPeri),
                         [](const auto& info) { return std::string(norm_name(info.param)); });

TEST(DumpArguments, AreReadAsPeopleWriteThem) {
  const auto names = [](const std::string& layers, const std::vector<std::string>& points) {
    std::string all;
    for (const DumpEntry& e : parse_dump_entries(layers, points, 6)) all += e.name + " ";
    return all;
  };
  EXPECT_EQ(names("1,5-6", {"layer"}), "layer.1 layer.5 layer.6 ");
  EXPECT_EQ(names("2,embedding,2", {"layer", "mlp", "attn"}), "embedding layer.2.attn layer.2 ");
  EXPECT_EQ(parse_positions("0,2-3", kSequences)[1], (std::vector<size_t>{0, 2}));
  EXPECT_EQ(parse_positions("first", kSequences)[2], (std::vector<size_t>{0}));
  for (const char* bad : {"7", "0", "3-2", "x", "", "1,,2", "-1"})
    EXPECT_ERROR(parse_dump_entries(bad, {"layer"}, 6), ErrorCode::kUsage, "--layers", "1..6");
  EXPECT_ERROR(parse_dump_entries("1", {"head"}, 6), ErrorCode::kUsage, "'head'", "attn_update");
  EXPECT_ERROR(parse_positions("end", kSequences), ErrorCode::kUsage, "'end'");
  EXPECT_ERROR(parse_positions("9", kSequences), ErrorCode::kUsage, "past the end");
}

TEST(DumpArguments, AFileOfAnotherKindIsRefusedAndNothingIsLeft) {
  const TempFolder f;
  TinyModel<float> tiny(tiny_config(NormType::kPre));
  NoProgress none;
  EXPECT_ERROR(dump_streams(tiny.model, kSequences, parse_positions("all", kSequences),
                            parse_dump_entries("1", {"layer"}, 4), 2, f / "x.txt", none),
               ErrorCode::kUsage, ".npy");
  EXPECT_TRUE(std::filesystem::is_empty(f.path()));
}

}  // namespace
}  // namespace fathom
