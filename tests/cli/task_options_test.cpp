// What an earlier run has scored, and whether a later one may go on from it.

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/model_loading.h"
#include "cli/task_options.h"
#include "core/file.h"
#include "core/json.h"
#include "io/gguf_writer.h"
#include "support/adapter_folder.h"
#include "support/expect_error.h"
#include "support/gguf_metadata.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

const fs::path kModel = fs::path(FATHOM_TEST_DATA) / "eval/data/bpe-lns";

class Partial : public testing::Test {
 protected:
  PartialResults open(const fs::path& model) const {
    return open_partial(Common{.json_path = (folder_ / "s.json").string()}, model, "fp32",
                        Tokenizer::load(kModel), {});
  }
  // Scores of `model` are kept; a run after `change` must not take them, and without it it does.
  void expect_told_apart(const fs::path& model, const std::function<void()>& change) const {
    PartialResults scored = open(model);
    scored.of("arc_easy") = {{1.0, 2.0}};
    scored.save();
    EXPECT_EQ(open(model).items(), 1u);
    change();
    EXPECT_ERROR(open(model), ErrorCode::kFailed, "another run");
    fs::remove(folder_ / "s.json.partial");
  }
  static void touch(const fs::path& file) {
    fs::last_write_time(file, fs::last_write_time(file) + std::chrono::hours(1));
  }

  test::TempFolder folder_;
};

TEST_F(Partial, IsOfAnAdapterAndOfItsBase) {
  const fs::path base = folder_ / "base", adapter = folder_ / "adapter";
  fs::copy(kModel, base);
  test::write_adapter(adapter, base);
  expect_told_apart(adapter, [&] { touch(base / "model.safetensors"); });
  expect_told_apart(adapter, [&] {
    auto config = read_json(base / "config.json");
    config["rms_norm_eps"] = 1e-3;
    write_text_file(base / "config.json", config.dump());
  });
  expect_told_apart(adapter, [&] { test::write_adapter(adapter, base, {{"lora_alpha", 8}}); });
}

TEST_F(Partial, IsOfEveryPartOfASplitGguf) {
  const ModelConfig config = test::tiny_config(NormType::kPre);
  const std::vector<float> ones(config.vocab_size * config.hidden_size, 1.0f);
  const auto u32 = [](size_t n) { return gguf_uint32(static_cast<uint32_t>(n)); };
  GgufPairs meta[2] = {test::gguf_metadata_of(config), {}};
  std::vector<GgufTensor> tensors[2];
  for (const ParamSpec& spec : parameter_list(config))
    tensors[spec.layer > 0 ? 1 : 0].push_back(
        {spec.gguf_name, spec.shape, ones.data(), DType::kF32, StoredType::kF32});
  for (size_t part = 0; part < 2; ++part) {
    meta[part].emplace_back("split.no", u32(part));
    meta[part].emplace_back("split.count", u32(2));
    write_gguf(folder_ / (part == 0 ? "m-00001-of-00002.gguf" : "m-00002-of-00002.gguf"), meta[part],
               tensors[part]);
  }
  expect_told_apart(folder_ / "m-00001-of-00002.gguf", [&] { touch(folder_ / "m-00002-of-00002.gguf"); });
}

}  // namespace
}  // namespace fathom::cli
