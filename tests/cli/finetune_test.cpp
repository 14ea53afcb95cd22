// fathom finetune and fathom merge, called as main() calls them.

#include <string>
#include <vector>

#include "cli/call.h"
#include "core/json.h"
#include "train/run_fixture.h"

namespace fathom::cli {
namespace {

class FinetuneCommand : public test::RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    TrainSettings base = settings("base");
    base.steps = 2;
    run(base);
    std::string lines;
    for (int i = 0; i < 30; ++i)
      lines += "{\"prompt\": \"" + std::to_string(i) + " is\", \"response\": \" even\"}\n";
    write_text_file(at("examples.jsonl"), lines);
  }

  std::string text(const std::string& name) const { return at(name).string(); }
};

TEST_F(FinetuneCommand, TunesAdaptersMergesThemAndGenerates) {
  call({"finetune", text("base"), "--data", text("examples.jsonl"), "--out", text("tuned"), "--seq", "24",
        "--epochs", "2", "--lora-rank", "2", "--mfu-peak-tflops", "1", "--json", text("result.json")});
  const auto result = read_json(at("result.json"));
  EXPECT_GT(result["trained_parameters"], 0);
  EXPECT_LT(result["trained_parameters"], result["parameters"]);
  EXPECT_TRUE(result.contains("val_loss"));
  const std::string toml = read_text_file(at("tuned/run.toml"));
  EXPECT_NE(toml.find("lr = 0.0002"), std::string::npos) << toml;
  EXPECT_NE(toml.find("weight_decay = 0.0"), std::string::npos) << toml;
  call({"finetune", "--resume", "--out", text("tuned")});
  EXPECT_NE(call({"merge", text("tuned"), "--out", text("merged")}).find("merged"), std::string::npos);
  call({"merge", text("tuned"), "--out", text("again") + "/"});
  EXPECT_TRUE(std::filesystem::exists(at("again/model.safetensors")));
  call({"generate", text("tuned"), "--prompt", "4 is", "--temperature", "0", "--dtype", "fp32",
        "--max-tokens", "6", "--json", text("a.json")});
  call({"generate", text("merged"), "--prompt", "4 is", "--temperature", "0", "--dtype", "fp32",
        "--max-tokens", "6", "--json", text("b.json")});
  EXPECT_EQ(read_json(at("a.json"))["output_ids"], read_json(at("b.json"))["output_ids"]);
}

TEST_F(FinetuneCommand, SaysWhatIsMissing) {
  EXPECT_ERROR(call({"finetune", "--data", text("examples.jsonl"), "--out", text("x")}), ErrorCode::kUsage,
               "MODEL is missing");
  EXPECT_ERROR(call({"finetune", text("base"), "--out", text("x")}), ErrorCode::kUsage, "--data is missing",
               ".jsonl");
  EXPECT_ERROR(call({"merge", text("base"), "--out", text("x")}), ErrorCode::kUsage, "is no adapter");
}

}  // namespace
}  // namespace fathom::cli
