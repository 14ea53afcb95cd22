// Every command that makes something at --out refuses a name that is taken, by one rule: exit code 1, one
// line that names it, nothing changed.

#include <string>
#include <vector>

#include "cli/call.h"
#include "train/run_fixture.h"

namespace fathom::cli {
namespace {

class TakenOutput : public test::RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    std::filesystem::create_directories(at("folder"));
    write_text_file(at("folder/thesis.tex"), "years of work");
    write_text_file(at("file"), "years of work");
    write_text_file(at("text.txt"), "the cat sat on the mat\n");
    std::string examples;
    for (int i = 0; i < 30; ++i)
      examples += "{\"prompt\": \"" + std::to_string(i) + " is\", \"response\": \" even\"}\n";
    write_text_file(at("examples.jsonl"), examples);
    std::filesystem::create_directories(at("tokenizer"));
    Tokenizer(std::vector<std::string>{}).save(at("tokenizer"));
    TrainSettings base = settings("base");
    base.steps = 1;
    run(base);
  }
  std::string text(const std::string& name) const { return at(name).string(); }

  void expect_refused(std::vector<std::string> command) {
    command.push_back("--out");
    for (const std::string out : {"folder", "folder/", "file"}) {
      command.push_back(text(out));
      SCOPED_TRACE(command[0] + " --out " + out);
      EXPECT_ERROR(call(command), ErrorCode::kFailed, text(out == "file" ? "file" : "folder").c_str(),
                   "exists already", "--out");
      EXPECT_EQ(read_text_file(at("folder/thesis.tex")), "years of work");
      EXPECT_EQ(read_text_file(at("file")), "years of work");
      command.pop_back();
    }
  }
};

TEST_F(TakenOutput, OfDataAndTokenizer) {
  expect_refused({"data", "--input", text("text.txt"), "--tokenizer", text("tokenizer")});
  expect_refused({"tokenizer", "train", "--input", text("text.txt"), "--vocab", "300"});
}

TEST_F(TakenOutput, OfRuns) {
  expect_refused({"train", "--model", text("model.json"), "--data", text("data"), "--norm", "lns", "--steps",
                  "1", "--batch", "4", "--seq", "16", "--mfu-peak-tflops", "1"});
  expect_refused(
      {"finetune", text("base"), "--data", text("examples.jsonl"), "--seq", "24", "--mfu-peak-tflops", "1"});
}

TEST_F(TakenOutput, OfModels) {
  call({"finetune", text("base"), "--data", text("examples.jsonl"), "--out", text("tuned"), "--seq", "24",
        "--epochs", "1", "--lora-rank", "2", "--mfu-peak-tflops", "1"});
  expect_refused({"merge", text("tuned")});
  expect_refused({"prune", text("base"), "--drop", "2"});
  expect_refused({"export", text("base")});
}

}  // namespace
}  // namespace fathom::cli
