// export and dump, called as main() calls them.

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/call.h"
#include "cli/model_loading.h"
#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "io/gguf.h"
#include "support/adapter_folder.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"
#include "text/helpers.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ExportCommand : public testing::Test {
 protected:
  void SetUp() override {
    const Tokenizer tokenizer = small_tokenizer();
    ModelConfig config = test::tiny_config(NormType::kLns);
    config.vocab_size = tokenizer.vocab_size() + 5;  // more rows than tokens, as many checkpoints have
    ResidentWeights<float> weights(config);
    test::randomize(weights, 5);
    fs::create_directories(folder_ / "run/checkpoints/step-3");
    save_model(folder_ / "run/checkpoints/step-3", config, weights.list(), weights.values(), DType::kF32);
    tokenizer.save(folder_ / "run/checkpoints/step-3");
    write_text_file(folder_ / "ids.json", "[[1,5,7,9,300],[2,4]]");
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  json read(const std::string& name) const { return read_json(folder_ / name); }

  test::TempFolder folder_;
};

TEST_F(ExportCommand, ARunGoesToGgufAndOnToAFolderWithTheSameIds) {
  call({"export", at("run"), "--out", at("lns.gguf"), "--fold-norm-scale", "--json", at("e.json")});
  const json result = read("e.json");
  EXPECT_EQ(result["format"], "gguf");
  EXPECT_EQ(result["architecture"], "llama");
  EXPECT_EQ(result["type"], "f32");
  EXPECT_EQ(result["tokenizer"], true);
  EXPECT_LE(result["deviation"].get<double>(), 1e-5);
  EXPECT_EQ(result["bytes"], fs::file_size(folder_ / "lns.gguf"));
  call({"export", at("lns.gguf"), "--out", at("folder/"), "--type", "bf16"});
  EXPECT_EQ(read("folder/config.json")["torch_dtype"], "bfloat16");
  const Tokenizer before = load_tokenizer(folder_ / "run/checkpoints/step-3");
  for (const std::string name : {"lns.gguf", "folder"}) {
    const Tokenizer after = load_tokenizer(folder_ / name);
    EXPECT_EQ(after.encode("the cat  sat\n on it, na\xc3\xafvely"),
              before.encode("the cat  sat\n on it, na\xc3\xafvely"));
    EXPECT_EQ(after.eos_id(), before.eos_id());
    EXPECT_EQ(after.add_bos(), before.add_bos());
  }
  call({"export", at("lns.gguf"), "--out", at("deep/er"), "--format", "gguf", "--type", "f16"});
  EXPECT_TRUE(fs::exists(folder_ / "deep/er/model.gguf"));
  // A folder's name has no extension to lose; a slash behind it is none of it.
  fs::copy(folder_ / "folder", folder_ / "Smol-1.7B");
  call({"export", at("Smol-1.7B/"), "--out", at("named.gguf")});
  EXPECT_EQ(GgufFile(folder_ / "named.gguf").metadata().text("general.name"), "Smol-1.7B");
}

TEST_F(ExportCommand, AFolderKeepsItsTokenizerAndScheme) {
  call({"export", at("run"), "--out", at("hf"), "--json", at("e.json")});
  EXPECT_EQ(read("e.json")["architecture"], "fathom");
  EXPECT_EQ(read("hf/config.json")["norm_scheme"]["type"], "lns");
  for (const char* name :
       {"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "modeling_fathom.py"})
    EXPECT_TRUE(fs::exists(folder_ / "hf" / name)) << name;
  call({"export", at("run"), "--out", at("bare"), "--no-tokenizer"});
  EXPECT_FALSE(fs::exists(folder_ / "bare/tokenizer.json"));
  call({"export", at("bare"), "--out", at("bare.gguf"), "--fold-norm-scale"});
  EXPECT_EQ(GgufFile(folder_ / "bare.gguf").metadata().text("tokenizer.ggml.model"), "no_vocab");
}

// PEFT saves an adapter without a tokenizer: its base's is meant.
TEST_F(ExportCommand, AnAdapterHasItsBasesTokenizer) {
  const fs::path base = folder_ / "base";
  fs::copy(fs::path(FATHOM_TEST_DATA) / "eval/data/sentencepiece-pre", base);
  write_text_file(base / "chat_template.json", R"({"chat_template": "of the base"})");
  write_text_file(base / "generation_config.json", R"({"eos_token_id": [1, 2]})");
  test::write_adapter(folder_ / "first", base);
  test::write_adapter(folder_ / "adapter", folder_ / "first");
  const Tokenizer expected = load_tokenizer(base);
  EXPECT_EQ(tokenizer_source(folder_ / "adapter"), base);
  EXPECT_EQ(load_tokenizer(folder_ / "adapter").fingerprint(), expected.fingerprint());
  EXPECT_EQ(load_chat_template(folder_ / "adapter").source(), "of the base");
  write_text_file(folder_ / "adapter/chat_template.jinja", "its own");
  EXPECT_EQ(load_chat_template(folder_ / "adapter").source(), "its own");
  call({"export", at("adapter"), "--out", at("hf")});
  call({"export", at("adapter"), "--out", at("a.gguf")});
  call({"merge", at("adapter"), "--out", at("merged")});
  for (const char* made : {"hf", "a.gguf", "merged"}) {
    EXPECT_EQ(load_tokenizer(folder_ / made).encode("the sea is deep"), expected.encode("the sea is deep"))
        << made;
    EXPECT_EQ(load_chat_template(folder_ / made).source(), "its own") << made;
  }
  for (const char* made : {"hf", "merged"})
    EXPECT_TRUE(fs::exists(folder_ / made / "generation_config.json")) << made;
}

TEST_F(ExportCommand, AFoldIsNamedOnlyWhereThereIsSomethingToFold) {
  const std::string folded =
      call({"export", at("run"), "--out", at("plain"), "--fold-norm-scale", "--json", at("lns.json")});
  EXPECT_NE(folded.find("scheme folded into the weights"), std::string::npos) << folded;
  EXPECT_EQ(read("lns.json")["folded"], true);
  // What came of it is Pre-LN.
  const std::string again =
      call({"export", at("plain"), "--out", at("again"), "--fold-norm-scale", "--json", at("pre.json")});
  EXPECT_EQ(again.find("scheme folded"), std::string::npos) << again;
  EXPECT_NE(again.find("nothing folded: the scheme 'pre' has no constants"), std::string::npos) << again;
  EXPECT_EQ(read("pre.json")["folded"], false);
  EXPECT_EQ(read("pre.json")["architecture"], "llama");
}

TEST_F(ExportCommand, RefusalsAreOneLineAndLeaveNothing) {
  EXPECT_ERROR(call({"export", at("run"), "--out", at("x.gguf")}), ErrorCode::kFailed, "'lns'",
               "--fold-norm-scale");
  EXPECT_ERROR(call({"export", at("run"), "--out", at("x.gguf"), "--format", "hf"}), ErrorCode::kUsage,
               ".gguf");
  EXPECT_ERROR(call({"export", at("run"), "--out", at("x"), "--type", "q8_0"}), ErrorCode::kUsage, "q8_0");
  EXPECT_ERROR(call({"export", at("run"), "--out", at("new/x.gguf")}), ErrorCode::kFailed, "'lns'");
  EXPECT_ERROR(call({"export", at("none"), "--out", at("x")}), ErrorCode::kFailed, "no such file or folder");
  EXPECT_ERROR(call({"export", at("run"), "--out", at("x"), "--type", "q4_k"}), ErrorCode::kUsage,
               "--type: q4_k not in");
  for (const char* name : {"x", "x.gguf", "new"}) EXPECT_FALSE(fs::exists(folder_ / name)) << name;
}

TEST_F(ExportCommand, DumpWritesAnArrayOfTheShapeThatItNames) {
  call({"dump", at("run"), "--token-ids", at("ids.json"), "--layers", "1,3-4", "--out", at("d.npy"), "--json",
        at("d.json")});
  const json result = read("d.json");
  EXPECT_EQ(result["shape"], json({3, 7, 24}));
  EXPECT_EQ(result["entries"], json({"layer.1", "layer.3", "layer.4"}));
  EXPECT_EQ(fs::file_size(folder_ / "d.npy"), 128u + 3 * 7 * 24 * 4);
  call({"dump", at("run"), "--token-ids", at("ids.json"), "--positions", "last", "--points",
        "attn,mlp_update", "--out", at("d.safetensors"), "--dtype", "bf16"});
  EXPECT_EQ(open_tensor_store(at("d.safetensors"))->at("layer.4.mlp_update").shape,
            (std::vector<size_t>{2, 24}));
  EXPECT_ERROR(
      call({"dump", at("run"), "--token-ids", at("ids.json"), "--layers", "5", "--out", at("x.npy")}),
      ErrorCode::kUsage, "--layers", "1..4");
  EXPECT_ERROR(call({"dump", at("run"), "--out", at("x.npy")}), ErrorCode::kUsage, "--text");
  // Longer than the context: not cut without a word.
  write_text_file(folder_ / "long.json",
                  json(std::vector<std::vector<int>>(1, std::vector<int>(65, 3))).dump());
  EXPECT_ERROR(call({"dump", at("run"), "--token-ids", at("long.json"), "--out", at("x.npy")}),
               ErrorCode::kUsage, "65 ids, more than the model's context of 64");
  EXPECT_ERROR(call({"dump", at("run"), "--token-ids", at("ids.json"), "--seq", "4", "--out", at("x.npy")}),
               ErrorCode::kUsage, "--seq", "--token-ids");
  EXPECT_ERROR(call({"dump", at("run"), "--token-ids", at("ids.json"), "--out", at("x.bin")}),
               ErrorCode::kUsage, ".npy");
  EXPECT_FALSE(fs::exists(folder_ / "x.npy"));
}

}  // namespace
}  // namespace fathom::cli
