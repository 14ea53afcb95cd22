// fathom prune --sweep --tasks, called as main() calls it, on a tiny checkpoint one layer of which does
// nothing.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "cli/call.h"
#include "cli/task_sweep.h"
#include "core/file.h"
#include "core/json.h"
#include "core/rng.h"
#include "core/threads.h"
#include "io/checkpoint.h"
#include "io/streamed_weights.h"
#include "support/expect_error.h"
#include "support/file_size_limit.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

constexpr size_t kIdentity = 3;  // the layer that does nothing, 1-based
constexpr size_t kItems = 40;

class TaskSweep : public testing::Test {
 protected:
  void SetUp() override {
    const fs::path source = fs::path(FATHOM_TEST_DATA) / "eval/data/bpe-lns";  // for its tokenizer
    fs::create_directories(folder_ / "model");
    for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
      fs::copy(source / file, folder_ / "model" / file);
    config_ = read_config(source);
    config_.num_hidden_layers = 4;
    ResidentWeights<float> weights(config_);
    test::randomize(weights, 5);
    for (const ParamSpec& spec : weights.list()) {
      if (spec.layer == kIdentity - 1 && (spec.role == ParamRole::kO || spec.role == ParamRole::kDown))
        std::fill_n(weights.values(spec), spec.size(), 0.0f);
    }
    save_model(folder_ / "model", config_, weights.list(), weights.values(), DType::kF32);
    fs::create_directories(folder_ / "run/checkpoints");
    fs::copy(folder_ / "model", folder_ / "run/checkpoints/step-3");
    fs::create_directories(folder_ / "data");
    write_items("arc_easy.test.jsonl", 4, 1);
    write_items("piqa.validation.jsonl", 2, 2);
    write_items("boolq.validation.jsonl", 2, 3);
    Rng rng(9);
    write_text_file(folder_ / "text.txt", words(400, rng));
  }

  static std::string words(size_t count, Rng& rng) {
    static const std::vector<std::string> kWords{"the",  "sea", "is",     "deep", "a",   "line",   "of",
                                                 "lead", "ten", "sounds", "it",   "and", "shoals", "rise"};
    std::string text;
    for (size_t i = 0; i < count; ++i) text += (i == 0 ? "" : " ") + kWords[rng.below(kWords.size())];
    return text;
  }
  void write_items(const std::string& file, size_t choices, uint64_t seed) {
    Rng rng(seed);
    std::string lines;
    for (size_t i = 0; i < kItems; ++i) {
      json item{
          {"id", std::to_string(i)}, {"query", words(2 + rng.below(6), rng)}, {"gold", rng.below(choices)}};
      for (size_t c = 0; c < choices; ++c) item["choices"].push_back(words(1 + rng.below(3), rng));
      lines += item.dump() + "\n";
    }
    write_text_file(folder_ / "data" / file, lines);
  }

  json sweep(const std::string& tasks, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{"prune",       at("model"), "--sweep", "--tasks",   tasks,
                                       "--eval-data", at("data"),  "--json",  at("s.json")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    printed_ = call(arguments);
    return read_json(folder_ / "s.json");
  }
  json eval(const std::string& model, const std::string& tasks) {
    call({"eval", at(model), "--tasks", tasks, "--data", at("data"), "--json", at("e.json")});
    return read_json(folder_ / "e.json")["tasks"];
  }
  static json without_speed(json result) {
    result.erase("speed");
    return result;
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }

  ModelConfig config_;
  test::TempFolder folder_;
  std::string printed_;
};

TEST_F(TaskSweep, ScoresTheWholeModelAsEvalDoesItemByItem) {
  const json result = sweep("arc_easy,piqa,boolq");
  EXPECT_THAT(printed_, HasSubstr("arc_easy, 40 items, whole: acc"));
  EXPECT_EQ(result["tasks"], eval("model", "arc_easy,piqa,boolq"));
  EXPECT_TRUE(result["loss"].is_null());
  EXPECT_TRUE(result["effective_depth"].is_null());
  ASSERT_EQ(result["removed"].size(), 4u);
  EXPECT_EQ(result["removed"][1]["layers"], json({2}));
  EXPECT_EQ(result["removed"][1]["tasks"].size(), 3u);
  EXPECT_TRUE(result["removed"][1]["loss"].is_null());
  EXPECT_FALSE(result["removed"][1]["tasks"][2].contains("acc_norm")) << "boolq has none";
}

TEST_F(TaskSweep, FindsThatAnIdentityLayerChangesNothing) {
  const json result = sweep("arc_easy,piqa");
  std::string whole;
  for (const json& item : result["tasks"][0]["items"]) whole += item["answer"] == item["gold"] ? '1' : '0';
  for (const json& task : result["removed"][kIdentity - 1]["tasks"]) {
    for (const std::string metric : {"acc", "acc_norm"}) {
      EXPECT_EQ(task["delta_" + metric], 0.0);
      EXPECT_EQ(task["delta_" + metric + "_stderr"], 0.0);
      EXPECT_EQ(task[metric + "_within_noise"], true);
      EXPECT_EQ(task[metric + "_mcnemar_p"], 1.0);
      EXPECT_EQ(task[metric + "_lost"], 0);
    }
  }
  EXPECT_EQ(result["removed"][kIdentity - 1]["tasks"][0]["acc_right"], whole);
  EXPECT_NE(result["removed"][0]["tasks"][0]["acc_right"], whole);
}

// Each removal is the model that `--drop` writes, and its change follows from the items' correctness.
TEST_F(TaskSweep, ScoresARemovalAsThePrunedModel) {
  const json result = sweep("arc_easy");
  call({"prune", at("model"), "--drop", "2", "--out", at("pruned")});
  const json pruned = eval("pruned", "arc_easy")[0], &whole = result["tasks"][0],
             &task = result["removed"][1]["tasks"][0];
  for (const char* key :
       {"acc", "acc_stderr", "acc_norm", "acc_norm_stderr", "tied", "not_finite", "n", "flags"})
    EXPECT_EQ(task[key], pruned[key]) << key;
  std::string right;
  double sum = 0, squares = 0;
  for (size_t i = 0; i < kItems; ++i) {
    const json &before = whole["items"][i], &after = pruned["items"][i];
    right += after["answer"] == after["gold"] ? '1' : '0';
    const int d = (after["answer"] == after["gold"] ? 1 : 0) - (before["answer"] == before["gold"] ? 1 : 0);
    sum += d;
    squares += d * d;
  }
  EXPECT_EQ(task["acc_right"], right);
  EXPECT_GT(squares, 0.0);
  const double n = kItems, variance = (squares - sum * sum / n) / (n - 1);
  EXPECT_NEAR(task["delta_acc"].get<double>(), sum / n, 1e-12);
  EXPECT_NEAR(task["delta_acc_stderr"].get<double>(), std::sqrt(variance / n), 1e-12);
  EXPECT_EQ(task["acc_gained"].get<int>() - task["acc_lost"].get<int>(), sum);
}

TEST_F(TaskSweep, TakesBlocksSublayersAndTextToo) {
  const json blocks = sweep("piqa", {"--block", "2"});
  ASSERT_EQ(blocks["removed"].size(), 3u);
  EXPECT_EQ(blocks["removed"][2]["layers"], json({3, 4}));
  // Without layer 3, which does nothing, a run of it and layer 4 is layer 4 alone.
  const json singles = sweep("piqa", {"--text", at("text.txt"), "--seq", "16"});
  EXPECT_EQ(blocks["removed"][2]["tasks"], singles["removed"][3]["tasks"]);
  EXPECT_TRUE(singles["removed"][0]["delta_loss"].is_number());
  EXPECT_TRUE(singles["effective_depth"].is_number());
  EXPECT_THAT(printed_, HasSubstr("effective depth"));
  const json mlp = sweep("piqa", {"--what", "mlp"});
  EXPECT_EQ(mlp["what"], "mlp");
  EXPECT_EQ(mlp["removed"][kIdentity - 1]["tasks"][0]["delta_acc"], 0.0);
  EXPECT_NE(mlp["removed"][0]["tasks"], singles["removed"][0]["tasks"]);
  EXPECT_THAT(printed_, HasSubstr("left out: the MLP's contribution"));
}

TEST_F(TaskSweep, GivesTheSameNumbersForEveryBatchThreadCountAndMemory) {
  const json expected = without_speed(sweep("arc_easy,boolq", {"--num-fewshot", "2"}));
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--num-fewshot", "2"});
    return without_speed(sweep("arc_easy,boolq", more));
  };
  EXPECT_EQ(with({"--batch-tokens", "1", "--threads", "1"}), expected);
  EXPECT_EQ(with({"--batch-tokens", "100000", "--threads", "4"}), expected);
  set_num_threads(0);
  // Hardly more than two layers, and five streams of the longest item: layers are read as they are needed.
  EXPECT_EQ(with({"--memory", std::to_string(StreamedWeights<float>::least_bytes(config_) + 950000)}),
            expected);
}

// A run that was cut off behind its scoring goes on from what it kept, which a value put there proves.
TEST_F(TaskSweep, GoesOnFromWhatAnEarlierRunHasScored) {
  const json expected = without_speed(sweep("piqa"));
  const uintmax_t size = fs::file_size(folder_ / "s.json");
  fs::remove(folder_ / "s.json");
  {
    // A disk that fills up at the end: what is kept on the way is smaller than the result.
    const test::FileSizeLimit limit(size / 10 * 9);
    EXPECT_ANY_THROW(sweep("piqa"));
  }
  json partial = read_json(folder_ / "s.json.partial");
  ASSERT_EQ(partial["tasks"]["piqa"].size(), kItems);
  ASSERT_EQ(partial["tasks"]["piqa"][0].size(), 2u * 5)
      << "two choices, whole and without each of four layers";
  const double kept = partial["tasks"]["piqa"][0][0].get<double>();
  EXPECT_EQ(expected["tasks"][0]["items"][0]["log_likelihoods"][0], kept);
  auto& items = partial["tasks"]["piqa"];
  items.erase(items.begin() + 10, items.end());
  items[0][0] = kept / 2;
  write_text_file(folder_ / "s.json.partial", partial.dump());
  json resumed = without_speed(sweep("piqa"));
  EXPECT_EQ(resumed["tasks"][0]["items"][0]["log_likelihoods"][0], kept / 2);
  EXPECT_FALSE(fs::exists(folder_ / "s.json.partial"));
  EXPECT_EQ(resumed["tasks"][0]["items"][10], expected["tasks"][0]["items"][10]);
  write_text_file(folder_ / "s.json.partial", partial.dump());
  EXPECT_ERROR(sweep("piqa", {"--what", "mlp"}), ErrorCode::kFailed, "another run", "delete it");
}

// `fathom compare` and `fathom probe --html` read a run's losses in its sweep, so that one of tasks alone
// stays out.
TEST_F(TaskSweep, StaysOutOfARunsFolderWithoutText) {
  const std::vector<std::string> tasks{"prune",       at("run"),  "--sweep", "--tasks", "piqa",
                                       "--eval-data", at("data"), "--limit", "5"};
  call(tasks);
  EXPECT_FALSE(fs::exists(folder_ / "run/sweep.json"));
  std::vector<std::string> both = tasks;
  both.insert(both.end(), {"--text", at("text.txt"), "--seq", "16"});
  call(both);
  const json kept = read_json(folder_ / "run/sweep.json");
  EXPECT_TRUE(kept["removed"][0]["delta_loss"].is_number());
  EXPECT_EQ(kept["removed"][0]["tasks"][0]["n"], 5);
}

TEST_F(TaskSweep, StandsOnThePageOfADiagnosis) {
  sweep("arc_easy");
  const std::vector<std::string> probe{"probe",  at("model"),  "--text",  at("text.txt"),
                                       "--seq",  "16",         "--level", "quick",
                                       "--html", at("p.html"), "--sweep", at("s.json")};
  call(probe);
  const std::string page = read_text_file(folder_ / "p.html");
  EXPECT_THAT(page, HasSubstr("What removing layers does to arc_easy"));
  EXPECT_THAT(page, HasSubstr("arc_easy (40 items, whole"));
  json more = read_json(folder_ / "s.json");
  more["removed"][3]["layers"] = {5};
  write_text_file(folder_ / "s.json", more.dump());
  EXPECT_ERROR(call(probe), ErrorCode::kFailed, "s.json: removes layer 5, but the model has 4");
  EXPECT_ERROR(call({"probe", at("model"), "--text", at("text.txt"), "--sweep", at("s.json")}),
               ErrorCode::kUsage, "--sweep goes with --html");
}

TEST_F(TaskSweep, SaysWhatIsWrong) {
  EXPECT_ERROR(sweep("arc_eazy"), ErrorCode::kUsage, "did you mean 'arc_easy'?");
  EXPECT_ERROR(sweep("piqa,piqa"), ErrorCode::kUsage, "twice");
  EXPECT_ERROR(sweep("piqa,perplexity"), ErrorCode::kUsage, "that of --text");
  EXPECT_ERROR(sweep("arc_challenge"), ErrorCode::kFailed, "arc_challenge.test.jsonl: no such file",
               "make it from");
  EXPECT_ERROR(sweep("piqa", {"--batch-tokens", "0"}), ErrorCode::kUsage, "--batch-tokens");
  EXPECT_ERROR(sweep("piqa", {"--memory", "1000"}), ErrorCode::kUsage, "--memory 1000 B is too little");
  EXPECT_ERROR(sweep("piqa", {"--block", "4"}), ErrorCode::kUsage, "--block 4");
  EXPECT_ERROR(call({"prune", at("model"), "--sweep", "--tasks", "piqa"}), ErrorCode::kUsage,
               "--eval-data is missing");
  EXPECT_ERROR(call({"prune", at("model"), "--drop", "1", "--tasks", "piqa"}), ErrorCode::kUsage,
               "--tasks goes with --sweep");
  EXPECT_ERROR(call({"prune", at("model"), "--sweep", "--limit", "3", "--text", at("text.txt")}),
               ErrorCode::kUsage, "--limit goes with --tasks");
}

PreparedTask two_items() {
  PreparedTask task;
  task.task = &find_task("piqa");
  for (const size_t gold : {0, 1}) {
    PreparedItem& item = task.items.emplace_back();
    item.gold = gold;
    item.characters = item.bytes = {1, 1};
    item.requests.resize(2);
  }
  return task;
}

// A removal after which every item is answered alike is marked: its score is a constant answer's.
TEST(TaskSweepTable, MarksWhatIsNoScore) {
  const PreparedTask task = two_items();
  const SweptTask swept = summarize_sweep(task, {{-1, -2, -1, -2, -3, -3}, {-2, -1, -2, -1, -3, -3}});
  EXPECT_EQ(swept.whole.acc.value, 1.0);
  ASSERT_EQ(swept.removed.size(), 2u);
  EXPECT_EQ(swept.removed[0].acc.delta, 0.0);
  EXPECT_EQ(swept.removed[1].acc.delta, -0.5);
  const std::string text = swept_task_text(swept, {"1", "2 (was 7)"});
  EXPECT_THAT(text, HasSubstr("within noise *"));
  EXPECT_THAT(text, HasSubstr("* without 2 (was 7): acc: every item is answered with choice 1"));
  const json score = swept_score_json(swept.removed[1]);
  EXPECT_EQ(score["acc_right"], "10");
  EXPECT_EQ(score["tied"], 2);
  EXPECT_TRUE(score["flags"].contains("acc"));
}

}  // namespace
}  // namespace fathom::cli
