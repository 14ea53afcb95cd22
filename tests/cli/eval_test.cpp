// eval, called as main() calls it, on the tiny checkpoints and items of tests/eval/data.

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/call.h"
#include "cli/command.h"
#include "cli/model_loading.h"
#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "core/threads.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom::cli {
namespace {

using nlohmann::json;

const std::string kData = std::string(FATHOM_TEST_DATA) + "/eval/data";
const std::string kModel = kData + "/bpe-lns";

std::string run(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"eval", kModel});
  return call(std::move(arguments));
}

class EvalCommand : public testing::Test {
 protected:
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  json read(const std::string& name) const { return read_json(folder_ / name); }
  test::TempFolder folder_;
};

TEST_F(EvalCommand, ScoresEveryTaskOfTheFolder) {
  const std::string tasks = "arc_easy,piqa,hellaswag,boolq,winogrande,openbookqa,mmlu,sciq,commonsense_qa";
  const std::string text = run({"--tasks", tasks, "--data", kData, "--json", at("s.json")});
  const json result = read("s.json");
  ASSERT_EQ(result["tasks"].size(), 9u);
  EXPECT_EQ(result["tasks"][8]["task"], "commonsenseqa");
  const json expected = read_json(kModel + "/expected.json")["zero_shot"];
  for (const json& task : result["tasks"]) {
    const json& golden = expected[task["task"].get<std::string>()];
    EXPECT_EQ(task["acc"], golden["acc"]);
    EXPECT_NEAR(task["items"][0]["log_likelihoods"][1].get<double>(),
                golden["items"][0][1]["log_likelihood"].get<double>(), 1e-3);
  }
  EXPECT_GT(result["speed"]["items_per_second"], 0.0);
  EXPECT_NE(text.find("always first"), std::string::npos);
  EXPECT_NE(text.find("lost tokens at their start"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(at("s.json.partial")));
}

TEST_F(EvalCommand, GivesTheSameNumbersForEveryBatchAndThreadCount) {
  const auto scores = [&](const std::string& batch, const std::string& threads) {
    run({"--tasks", "arc_easy,mmlu", "--data", kData, "--batch-tokens", batch, "--threads", threads,
         "--num-fewshot", "2", "--json", at("s.json")});
    return read("s.json")["tasks"];
  };
  const json one = scores("1", "1");
  EXPECT_EQ(scores("100000", "4"), one);
  set_num_threads(0);
}

// A model that does not fit is read as it is needed, and scores the same.
TEST_F(EvalCommand, TakesTheMemoryThatItIsGranted) {
  const auto scores = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments{
        "--tasks", "arc_easy,perplexity", "--data", kData,    "--text",    kData + "/text.txt", "--seq",
        "24",      "--batch-tokens",      "64",     "--json", at("s.json")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    run(arguments);
    return read("s.json")["tasks"];
  };
  const json whole = scores({});
  uint64_t too_little = 1 << 10, enough = uint64_t{1} << 34;  // the least that it takes, found by halves
  json tight;
  while (enough - too_little > 1) {
    const uint64_t bytes = too_little + (enough - too_little) / 2;
    try {
      tight = scores({"--memory", std::to_string(bytes)});
      enough = bytes;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage) << e.what();
      too_little = bytes;
    }
  }
  EXPECT_EQ(tight, whole);
  EXPECT_ERROR(scores({"--memory", "1KiB"}), ErrorCode::kUsage, "--memory 1.00 KiB is too little",
               "--batch-tokens");
}

TEST(ModelLoading, SaysThatAModelDoesNotFit) {
  require_room("m", 10, DType::kF32, 10);
  EXPECT_ERROR(require_room("m.gguf", size_t{28} << 30, DType::kF32, uint64_t{12} << 30), ErrorCode::kFailed,
               "m.gguf: needs 28.00 GiB in fp32, 12.00 GiB are free", "probe, prune, eval");
  const ModelConfig config = read_config(kModel);
  EXPECT_EQ(loaded_bytes<float>(config), 4 * parameter_count(parameter_list(config)));
  EXPECT_EQ(loaded_bytes<bf16>(config), 6 * parameter_count(parameter_list(config)))
      << "masters and the copy";
}

TEST_F(EvalCommand, MeasuresPerplexityAndNamesTheConvention) {
  run({"--tasks", "perplexity", "--text", kData + "/text.txt", "--seq", "24", "--stride", "10", "--json",
       at("p.json")});
  const json golden = read_json(kModel + "/expected.json")["perplexity"];
  json result = read("p.json")["tasks"][0];
  EXPECT_EQ(result["convention"], "hf");
  EXPECT_NEAR(result["loss"].get<double>(), golden["hf"]["loss"].get<double>(), 1e-4);
  const std::string text = run({"--tasks", "perplexity", "--text", kData + "/text.txt", "--seq", "32",
                                "--convention", "llama.cpp", "--json", at("p.json")});
  result = read("p.json")["tasks"][0];
  EXPECT_EQ(result["convention"], "llama.cpp");
  EXPECT_EQ(result["tokens"], golden["llama.cpp"]["tokens"]);
  EXPECT_NE(text.find("llama.cpp: chunks of 32"), std::string::npos);
}

TEST_F(EvalCommand, SaysWhatIsWrong) {
  EXPECT_ERROR(run({"--tasks", "arc_eazy", "--data", kData}), ErrorCode::kUsage, "did you mean 'arc_easy'?");
  EXPECT_ERROR(run({"--tasks", "arc_easy"}), ErrorCode::kUsage, "--data is missing");
  EXPECT_ERROR(run({"--tasks", "arc_easy,arc_easy", "--data", kData}), ErrorCode::kUsage, "twice");
  EXPECT_ERROR(run({"--tasks", "perplexity"}), ErrorCode::kUsage, "needs --text");
  EXPECT_ERROR(run({"--tasks", "arc_easy", "--data", kData, "--text", "x"}), ErrorCode::kUsage,
               "perplexity alone", "add it to --tasks");
  for (const char* flag : {"--tokens", "--convention", "--seq", "--stride"})
    EXPECT_ERROR(run({"--tasks", "arc_easy", "--data", kData, flag, "1"}), ErrorCode::kUsage, flag,
                 "perplexity alone");
  for (const char* flag : {"--data", "--split", "--limit", "--num-fewshot"})
    EXPECT_ERROR(run({"--tasks", "perplexity", "--text", kData + "/text.txt", flag, "1"}), ErrorCode::kUsage,
                 flag, "tasks of items");
  EXPECT_ERROR(run({"--tasks", "arc_challenge", "--data", kData}), ErrorCode::kFailed,
               "arc_challenge.test.jsonl: no such file", "make it from",
               "scripts/make-eval-data.py arc_challenge FILE;");
  EXPECT_ERROR(run({"--tasks", "piqa", "--data", kData, "--num-fewshot", "5"}), ErrorCode::kFailed,
               "2 examples to draw 6 from");
  write_text_file(folder_ / "s.json.partial", "{\"fingerprint\": \"0\", \"tasks\": {}}");
  EXPECT_ERROR(run({"--tasks", "piqa", "--data", kData, "--json", at("s.json")}), ErrorCode::kFailed,
               "another run", "delete it");
}

}  // namespace
}  // namespace fathom::cli
