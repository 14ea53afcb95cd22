#include "report/run.h"

#include <cmath>

#include <gmock/gmock.h>

#include "core/log.h"
#include "report/run_folder.h"

namespace fathom {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class LoadRun : public RunFolderTest {
 protected:
  std::string error_of_load(const std::string& name) const {
    return error_of([&] { load_run(folder_ / name); });
  }
};

TEST_F(LoadRun, ReadsEverythingThatARunHas) {
  make_run("a", "lns", {30, 40},
           "seed = 7\nlr = 0.1\nstarted = 2025-11-23T10:00:00\n[deep]\nx = [1, 2]\nflag = true\n");
  write("a/sweep.json",
        R"({"loss":3,"perplexity":20,"effective_depth":1.5,"effective_depth_ratio":0.75,"removed":[
      {"layers":[2],"loss":3.5,"perplexity":33,"delta_loss":0.5,"delta_loss_stderr":0.1},
      {"layers":[1,2],"loss":9,"perplexity":9,"delta_loss":6},
      {"layers":[1],"loss":4,"perplexity":54,"delta_loss":null}]})");
  const RunRecord run = load_run(folder_ / "a/");
  EXPECT_EQ(run.name, "a");
  EXPECT_EQ(run.norm, "lns");
  EXPECT_EQ(run.seed, "7");
  EXPECT_TRUE(std::isnan(run.parameters));
  const std::vector<std::pair<std::string, std::string>> settings{{"norm", "lns"},
                                                                  {"seed", "7"},
                                                                  {"lr", "0.1"},
                                                                  {"started", "2025-11-23T10:00:00"},
                                                                  {"deep.x", "1, 2"},
                                                                  {"deep.flag", "true"},
                                                                  {"num_hidden_layers", "2"},
                                                                  {"hidden_size", "8"}};
  EXPECT_EQ(run.settings, settings);
  ASSERT_EQ(run.points.size(), 2u);
  EXPECT_EQ(run.points[1].tokens, 200u);
  EXPECT_EQ(run.points[0].loss, 4.0);
  EXPECT_TRUE(std::isnan(run.points[0].val_loss));
  EXPECT_EQ(run.points[1].layer_variance, (std::vector<double>{0.5, 2.0}));
  ASSERT_EQ(run.evaluations.size(), 2u);
  EXPECT_EQ(run.evaluations[1].step, 2u);
  EXPECT_EQ(run.evaluations[1].nll, (std::vector<double>{30, 40}));
  ASSERT_TRUE(run.sweep);
  ASSERT_EQ(run.sweep->removed.size(), 2u) << "only single layers";
  EXPECT_EQ(run.sweep->removed[0].layer, 1u);
  EXPECT_TRUE(std::isnan(run.sweep->removed[0].delta_loss));
  EXPECT_EQ(run.sweep->removed[1].delta_loss_stderr, 0.1);
}

TEST_F(LoadRun, NeedsNeitherEvaluationsNorSweepNorConfig) {
  write("a/run.toml", "norm = \"pre\"\n");
  write("a/metrics.jsonl", "{\"step\":1,\"tokens\":10}\n");
  const RunRecord run = load_run(folder_ / "a");
  EXPECT_EQ(run.points.size(), 1u);
  EXPECT_TRUE(run.evaluations.empty());
  EXPECT_FALSE(run.sweep);
  EXPECT_EQ(run.seed, "");
}

TEST_F(LoadRun, IgnoresALastLineThatWasCutShortAndSaysSo) {
  make_run("a", "pre", {1});
  std::string warning;
  const LogSink old = set_log_sink([&](LogLevel, const std::string& message) { warning = message; });
  for (const char* tail : {"{\"step\":2,\"tok", "{\"step\":2,\"tok\n", "{\"step\":2,\"tok\n\n"}) {
    warning.clear();
    write("a/metrics.jsonl", std::string("{\"step\":1,\"tokens\":10}\n\n") + tail);
    EXPECT_EQ(load_run(folder_ / "a").points.size(), 1u);
    EXPECT_THAT(warning, HasSubstr("metrics.jsonl:3: the last line was cut short"));
  }
  set_log_sink(old);
}

TEST_F(LoadRun, NamesFileAndLineOfABrokenLineInTheMiddle) {
  make_run("a", "pre", {1});
  write("a/metrics.jsonl", "{\"step\":1,\"tokens\":10}\n{\"step\":2,\"tok\n{\"step\":3,\"tokens\":30}\n");
  EXPECT_THAT(error_of_load("a"), HasSubstr("a/metrics.jsonl:2: is not JSON"));
  write("a/metrics.jsonl", "[1]\n");
  EXPECT_THAT(error_of_load("a"), HasSubstr("a/metrics.jsonl:1: is not a JSON object"));
  write("a/metrics.jsonl", "{\"step\":1,\"tokens\":10,\"loss\":\"low\"}\n");
  EXPECT_THAT(error_of_load("a"), HasSubstr("a/metrics.jsonl:1: 'loss' is not a number"));
  write("a/metrics.jsonl", "{\"tokens\":10}\n");
  EXPECT_THAT(error_of_load("a"), HasSubstr("a/metrics.jsonl:1: has no 'step'"));
  for (const char* step : {"-1", "1.5", "1e300", "null"}) {
    write("a/metrics.jsonl", std::string("{\"tokens\":10,\"step\":") + step + "}\n");
    EXPECT_THAT(error_of_load("a"), HasSubstr("'step' is not a whole number")) << step;
  }
  write("a/metrics.jsonl",
        "{\"step\":1,\"tokens\":1,\"layer_variance\":[1,2]}\n"
        "{\"step\":2,\"tokens\":2,\"layer_grad_norm\":[1]}\n");
  EXPECT_THAT(error_of_load("a"), HasSubstr("a/metrics.jsonl:2: has 1 layers, an earlier line has 2"));
}

TEST_F(LoadRun, DropsWhatAResumedRunDidAgain) {
  make_run("a", "pre", {1});
  write("a/metrics.jsonl",
        "{\"step\":1,\"tokens\":10,\"loss\":5}\n{\"step\":2,\"tokens\":20,\"loss\":4}\n{\"step\":3,"
        "\"tokens\":30,\"loss\":3}\n"
        "{\"step\":2,\"tokens\":20,\"loss\":4.5}\n{\"step\":2,\"tokens\":20,\"val_loss\":4.25}\n");
  const RunRecord run = load_run(folder_ / "a");
  ASSERT_EQ(run.points.size(), 2u);
  EXPECT_EQ(run.points[1].loss, 4.5);
  EXPECT_EQ(run.points[1].val_loss, 4.25) << "two lines of one step are one point";
}

TEST_F(LoadRun, TakesNullForNaN) {
  make_run("a", "pre", {1});
  write("a/metrics.jsonl", "{\"step\":1,\"tokens\":10,\"loss\":null,\"layer_variance\":[1,null]}\n");
  const RunRecord run = load_run(folder_ / "a");
  EXPECT_TRUE(std::isnan(run.points[0].loss));
  EXPECT_TRUE(std::isnan(run.points[0].layer_variance[1]));
}

TEST_F(LoadRun, RefusesWhatIsNotARun) {
  EXPECT_THAT(error_of_load("none"), HasSubstr("none: no such folder or file; give the --out folder"));
  write("file", "x");
  EXPECT_THAT(error_of_load("file"), HasSubstr("file: is not a folder"));
  write("b/metrics.jsonl", "");
  EXPECT_THAT(error_of_load("b"), HasSubstr("b: is not a run directory (it has no run.toml)"));
  make_run("a", "pre", {1});
  write("a/metrics.jsonl", "\n");
  EXPECT_THAT(error_of_load("a"), HasSubstr("a/metrics.jsonl: has no step yet"));
}

TEST_F(LoadRun, RefusesSettingsThatAreNot) {
  make_run("a", "pre", {1});
  write("a/run.toml", "norm = \"pre\"\nlr = = 3\n");
  EXPECT_THAT(error_of_load("a"), HasSubstr("a/run.toml:2: is not TOML"));
  write("a/run.toml", "lr = 1\n");
  EXPECT_THAT(error_of_load("a"), HasSubstr("a/run.toml: has no 'norm'"));
  write("a/run.toml", "norm = \"pre\"\nparameters = \"many\"\n");
  EXPECT_THAT(error_of_load("a"), HasSubstr("a/run.toml: 'parameters' is not a number"));
  write("a/run.toml", "norm = \"pre\"\n");
  write("a/config.json", "{\"hidden_size\":");
  EXPECT_THAT(error_of_load("a"), HasSubstr("a/config.json: at byte 15: is not JSON"));
}

TEST_F(LoadRun, RefusesEvaluationsAndSweepsOfAnotherShape) {
  make_run("a", "pre", {1});
  const std::string head = R"({"step":1,"tokens":1,"seq":8,)";
  for (const auto& [text, expected] : std::vector<std::pair<std::string, std::string>>{
           {head + R"("nll":[1,2],"count":[1]})", "'nll' has 2 sequences, 'count' has 1"},
           {head + R"("nll":[1],"count":[0]})", "no token was scored"},
           {head + R"("nll":[],"count":[]})", "no token was scored"},
           {head + R"("nll":[1],"count":[-1]})", "'count' is not a whole number"},
           {head + R"("nll":["1"],"count":[1]})", "'nll' is not a number"},
           {head + R"("nll":[1]})", "has no list 'count'"},
           {head + R"("data_fingerprint":5,"nll":[1],"count":[1]})", "'data_fingerprint' is not a text"},
           {"[]", "is not a JSON object"}}) {
    write("a/evals/step-1.json", text);
    EXPECT_THAT(error_of_load("a"), HasSubstr("a/evals/step-1.json: " + expected));
  }
  std::filesystem::remove_all(folder_ / "a/evals");
  write("a/evals/step-9.json.tmp-77", "half a file");
  EXPECT_EQ(error_of_load("a"), "") << "files of a run that is writing are left alone";
  for (const auto& [text, expected] : std::vector<std::pair<std::string, std::string>>{
           {R"({"loss":1})", "has no list 'removed'"},
           {R"({"removed":[]})", "'removed' is empty"},
           {R"({"removed":[3]})", "is not a JSON object"},
           {R"({"removed":[{"layers":[1],"delta_loss":"x"}]})", "'delta_loss' is not a number"}}) {
    write("a/sweep.json", text);
    EXPECT_THAT(error_of_load("a"), HasSubstr("a/sweep.json: " + expected));
  }
}

}  // namespace
}  // namespace fathom
