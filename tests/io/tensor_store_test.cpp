#include "io/tensor_store.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

using nlohmann::json;
using test::TempFolder;

constexpr float kValues[4] = {1, 2, 3, 4};

void write_shard(const std::filesystem::path& path, const std::vector<std::string>& names) {
  std::vector<TensorToWrite> tensors;
  for (const std::string& name : names) tensors.push_back({name, {4}, kValues, DType::kF32, DType::kF32});
  write_safetensors(path, tensors);
}

void write_index(const TempFolder& folder, const json& weight_map) {
  write_text_file(folder / "model.safetensors.index.json", json{{"weight_map", weight_map}}.dump());
}

TEST(TensorStore, OpensAShardedFolder) {
  const TempFolder f;
  write_shard(f / "one.safetensors", {"a", "b"});
  write_shard(f / "two.safetensors", {"c"});
  write_index(f, {{"a", "one.safetensors"}, {"b", "one.safetensors"}, {"c", "two.safetensors"}});
  const std::unique_ptr<TensorStore> store = open_tensor_store(f.path());
  EXPECT_EQ(store->tensors().size(), 3u);
  EXPECT_EQ(store->at("c").path().filename(), "two.safetensors");
  EXPECT_EQ(store->at("a").type, StoredType::kF32);
  EXPECT_ERROR(store->at("d"), ErrorCode::kFailed, "index.json", "'d'", "missing");
}

TEST(TensorStore, TensorsThatTheIndexForgetsAreStillThere) {
  const TempFolder f;
  write_shard(f / "one.safetensors", {"a", "b"});
  write_index(f, {{"a", "one.safetensors"}});
  EXPECT_NE(open_tensor_store(f.path())->find("b"), nullptr);
}

TEST(TensorStore, RefusesABrokenIndex) {
  const TempFolder f;
  write_shard(f / "one.safetensors", {"a", "b"});
  write_shard(f / "two.safetensors", {"b", "c"});
  const auto open = [&](const json& map) {
    write_index(f, map);
    open_tensor_store(f.path());
  };
  open({{"a", "one.safetensors"}});
  EXPECT_ERROR(open({{"z", "one.safetensors"}}), ErrorCode::kFailed, "one.safetensors", "'z'", "missing");
  EXPECT_ERROR(open({{"a", "none.safetensors"}}), ErrorCode::kFailed, "none.safetensors", "No such file");
  EXPECT_ERROR(open({{"a", "one.safetensors"}, {"c", "two.safetensors"}}), ErrorCode::kFailed, "'b'",
               "two.safetensors", "stands twice", "one.safetensors");
  EXPECT_ERROR(open({{"a", 7}}), ErrorCode::kFailed, "'a'", "must be a string");
  EXPECT_ERROR(open(json::object()), ErrorCode::kFailed, "weight_map");
  for (const char* name : {"../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", "", "a\\b"}) {
    EXPECT_ERROR(open({{"a", name}}), ErrorCode::kFailed, "index.json", "'a'", "own folder");
  }
  EXPECT_ERROR(open({{"a", std::string("one.safetensors\0", 16)}}), ErrorCode::kFailed, "own folder");
  write_text_file(f / "model.safetensors.index.json", R"({"weight_map":{"a":"one.safetensors","a":"b"}})");
  EXPECT_ERROR(open_tensor_store(f.path()), ErrorCode::kFailed, "'a' twice");
  write_text_file(f / "model.safetensors.index.json", "[]");
  EXPECT_ERROR(open_tensor_store(f.path()), ErrorCode::kFailed, "not a JSON object");
  write_text_file(f / "model.safetensors.index.json", std::string(100000, '['));
  EXPECT_ERROR(open_tensor_store(f.path()), ErrorCode::kFailed, "nested deeper than");
}

TEST(TensorStore, NamesWhatAFolderLacks) {
  const TempFolder f;
  EXPECT_ERROR(open_tensor_store(f.path()), ErrorCode::kFailed, "neither model.safetensors nor");
  write_text_file(f / "pytorch_model.bin", "x");
  EXPECT_ERROR(open_tensor_store(f.path()), ErrorCode::kFailed, "convert it to safetensors");
  EXPECT_ERROR(open_tensor_store(f / "pytorch_model.bin"), ErrorCode::kFailed, "no checkpoint");
}

}  // namespace
}  // namespace fathom
