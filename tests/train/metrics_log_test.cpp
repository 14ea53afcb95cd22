#include "train/metrics_log.h"

#include "run_fixture.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

class MetricsLogTest : public ::testing::Test {
 protected:
  static StepMetrics step(uint64_t n) {
    StepMetrics m;
    m.step = n;
    m.loss = 0.5;
    return m;
  }
  std::string text() const { return read_text_file(folder_ / "metrics.jsonl"); }
  test::TempFolder folder_;
};

TEST_F(MetricsLogTest, DropsLinesBeyondTheStepAndAnUnfinishedOne) {
  {
    MetricsLog log(folder_.path(), {});
    for (uint64_t n = 1; n <= 5; ++n) log.add(step(n));
  }
  write_text_file(folder_ / "metrics.jsonl", text() + "{\"step\": 2");
  {
    MetricsLog log(folder_.path(), 3);
    log.add(step(4));
  }
  std::vector<uint64_t> steps;
  const std::string lines = text();
  for (size_t begin = 0; begin < lines.size(); begin = lines.find('\n', begin) + 1)
    steps.push_back(nlohmann::json::parse(lines.substr(begin, lines.find('\n', begin) - begin))["step"]);
  EXPECT_EQ(steps, (std::vector<uint64_t>{1, 2, 3, 4}));
}

TEST_F(MetricsLogTest, RemovesEvaluationsBeyondTheStep) {
  StepMetrics m = step(4);
  m.validation = SequenceLoss{{2.0, 6.0}, {2, 2}};
  {
    MetricsLog log(folder_.path(), {});
    log.add_evaluation(m, 2, "f");
    m.step = 10;
    log.add_evaluation(m, 2, "f");
  }
  const MetricsLog log(folder_.path(), 4);
  EXPECT_TRUE(fs::exists(folder_ / "evals/step-4.json"));
  EXPECT_FALSE(fs::exists(folder_ / "evals/step-10.json"));
}

TEST_F(MetricsLogTest, WritesWhatAnEvaluationFound) {
  StepMetrics m = step(4);
  m.validation = SequenceLoss{{2.0, 6.0}, {2, 2}};
  MetricsLog log(folder_.path(), {});
  log.add(m);
  log.add_evaluation(m, 2, "f");
  const auto line = nlohmann::json::parse(text());
  EXPECT_EQ(line["val_loss"], 2.0);
  EXPECT_DOUBLE_EQ(line["val_ppl"].get<double>(), std::exp(2.0));
  EXPECT_DOUBLE_EQ(line["val_loss_stderr"].get<double>(), 1.0);
  const auto eval = nlohmann::json::parse(read_text_file(folder_ / "evals/step-4.json"));
  EXPECT_EQ(eval["nll"], nlohmann::json({2.0, 6.0}));
  EXPECT_EQ(eval["val_loss_stderr"], line["val_loss_stderr"]);
  // One sequence has no standard error, which is not one of 0.
  m.validation = SequenceLoss{{2.0}, {2}};
  log.add_evaluation(m, 2, "f");
  EXPECT_TRUE(
      nlohmann::json::parse(read_text_file(folder_ / "evals/step-4.json"))["val_loss_stderr"].is_null());
}

}  // namespace
}  // namespace fathom
