// fathom train, called as main() calls it, and as a process that is signalled and killed.

#include <csignal>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "cli/call.h"
#include "cli/process.h"
#include "core/json.h"
#include "train/run_fixture.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

class TrainCommand : public test::RunTest {
 protected:
  std::vector<std::string> arguments(const std::string& out,
                                     const std::vector<std::string>& more = {}) const {
    std::vector<std::string> list = {"train",
                                     "--model",
                                     at("model.json").string(),
                                     "--data",
                                     at("data").string(),
                                     "--out",
                                     at(out).string(),
                                     "--norm",
                                     "lns",
                                     "--batch",
                                     "4",
                                     "--seq",
                                     "16",
                                     "--mfu-peak-tflops",
                                     "1",
                                     "--eval-tokens",
                                     "64"};
    list.insert(list.end(), more.begin(), more.end());
    return list;
  }

  int exit_code(const std::vector<std::string>& list) {
    return WEXITSTATUS(wait_for(start(list, at("errors.txt"))));
  }
  std::string errors() const { return read_text_file(at("errors.txt")); }
  size_t lines(const std::string& out) const {
    const fs::path path = at(out) / "metrics.jsonl";
    if (!fs::exists(path)) return 0;
    const std::string text = read_text_file(path);
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  }
  /// Waits until the run has written so many steps, or its process has ended.
  void await_steps(pid_t child, const std::string& out, size_t steps) const {
    while (lines(out) < steps && !ended(child)) ::usleep(2000);
  }
};

TEST_F(TrainCommand, TrainsAndWritesItsResult) {
  call(arguments("run", {"--tokens", "0.5K", "--recompute", "--json", at("r.json").string()}));
  const auto json = read_json(at("r.json"));
  EXPECT_EQ(json["step"], 8);
  EXPECT_EQ(json["tokens"], 512);
  EXPECT_EQ(json["stopped"], false);
  EXPECT_GT(json["val_ppl"].get<double>(), 1.0);
  EXPECT_EQ(json["checkpoint"], (at("run") / "checkpoints/step-8").string());
  EXPECT_NE(read_text_file(at("run/run.toml")).find("recompute = true"), std::string::npos);
}

TEST_F(TrainCommand, FlagsOverrideTheRecipe) {
  write_text_file(at("r.toml"), "steps = 3\nlr = 0.5\nnorm = \"pre\"\ndtype = \"fp32\"\n");
  call(arguments("run", {"--config", at("r.toml").string(), "--lr", "1e-4"}));
  const std::string toml = read_text_file(at("run/run.toml"));
  EXPECT_NE(toml.find("lr = 0.0001\n"), std::string::npos) << toml;
  EXPECT_NE(toml.find("steps = 3\n"), std::string::npos);
  EXPECT_NE(toml.find("norm = 'lns'\n"), std::string::npos);
  EXPECT_NE(toml.find("dtype = 'fp32'\n"), std::string::npos);
}

TEST_F(TrainCommand, ARunTomlIsARecipeForTheSameRun) {
  call(arguments("a", {"--steps", "3"}));
  call({"train", "--config", at("a/run.toml").string(), "--out", at("b").string()});
  EXPECT_EQ(bytes_of(at("a/checkpoints/step-3/model.safetensors")),
            bytes_of(at("b/checkpoints/step-3/model.safetensors")));
}

TEST_F(TrainCommand, ExitCodesTellUsageFromFailure) {
  EXPECT_EQ(exit_code(arguments("run", {"--steps", "1", "--tokens", "5"})), 2);
  EXPECT_NE(errors().find("--steps and --tokens exclude each other"), std::string::npos) << errors();
  EXPECT_EQ(exit_code(arguments("run", {"--grad-accum", "0"})), 2);
  EXPECT_NE(errors().find("grad_accum is 0"), std::string::npos) << errors();
  EXPECT_EQ(exit_code(arguments("run", {"--bacth", "1"})), 2);
  EXPECT_EQ(exit_code(arguments("run", {"--resume"})), 2);
  EXPECT_EQ(exit_code(arguments("run", {"--data", at("none").string()})), 2) << "given twice";
  EXPECT_EQ(exit_code({"train", "--model", at("model.json").string(), "--out", at("run").string(), "--data",
                       at("none").string(), "--seq", "16"}),
            1);
  EXPECT_NE(errors().find("no such data folder"), std::string::npos) << errors();
  EXPECT_FALSE(fs::exists(at("run")));
}

TEST_F(TrainCommand, SignalsFinishTheStepSaveAndSayHowToResume) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string out = "run" + std::to_string(signal);
    const pid_t child = start(arguments(out, {"--steps", "100000", "--save-every", "0"}), at("errors.txt"));
    await_steps(child, out, 2);
    ::kill(child, signal);
    const int status = wait_for(child);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 1) << "the run is not done";
    EXPECT_NE(errors().find("fathom train --resume --out " + at(out).string()), std::string::npos)
        << errors();
    EXPECT_EQ(resolve_model(at(out)).filename(), "step-" + std::to_string(lines(out)));
  }
}

TEST_F(TrainCommand, ASecondSignalEndsAtOnce) {
  // A step that takes far longer than this test.
  const pid_t child = start(arguments("run", {"--steps", "9", "--grad-accum", "40000"}), at("errors.txt"));
  while (!fs::exists(at("run/metrics.jsonl")) && !ended(child)) ::usleep(2000);
  ::kill(child, SIGINT);
  ::usleep(50000);
  EXPECT_FALSE(ended(child)) << "the step at hand is finished first";
  ::kill(child, SIGTERM);
  const int status = wait_for(child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
  EXPECT_EQ(lines("run"), 0u);
}

TEST_F(TrainCommand, SurvivesBeingKilledAtAnyMoment) {
  const std::vector<std::string> more = {"--steps", "60", "--save-every", "4", "--eval-every", "7"};
  ASSERT_EQ(exit_code(arguments("straight", more)), 0) << errors();
  Rng rng(5);
  bool resume = false;
  int kills = 0;
  for (;;) {
    std::vector<std::string> list = arguments("killed", more);
    if (resume) list.push_back("--resume");
    const pid_t child = start(list, at("errors.txt"));
    if (kills < 8) {
      // Some moment within the next few steps: during a step, an evaluation, a save or a deletion.
      const size_t before = lines("killed");
      await_steps(child, "killed", before + 1 + rng.below(6));
      ::usleep(static_cast<useconds_t>(rng.below(8000)));
      ::kill(child, SIGKILL);
      ++kills;
    }
    const int status = wait_for(child);
    if (WIFEXITED(status)) {
      ASSERT_EQ(WEXITSTATUS(status), 0) << errors();
      break;
    }
    resume = fs::exists(at("killed/run.toml"));
  }
  for (const char* file : {"model.safetensors", "state.safetensors"})
    EXPECT_EQ(bytes_of(at("straight/checkpoints/step-60") / file),
              bytes_of(at("killed/checkpoints/step-60") / file));
  EXPECT_EQ(lines("killed"), 60u);
  for (const auto& entry : fs::directory_iterator(at("killed/checkpoints")))
    EXPECT_EQ(entry.path().filename().string()[0], 's') << entry.path();
}

}  // namespace
}  // namespace fathom::cli
