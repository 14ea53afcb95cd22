#include "train/metrics_log.h"

#include <algorithm>

#include <sys/syscall.h>
#include <unistd.h>

#include "core/json.h"
#include "core/log.h"
#include "run_fixture.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// What was flushed to the disk, in the order of the calls: the name of the file, and its size then.
std::vector<std::pair<std::string, uintmax_t>>& flushed() {
  static std::vector<std::pair<std::string, uintmax_t>> files;
  return files;
}

}  // namespace
}  // namespace fathom

// In place of the C library's.
extern "C" int fdatasync(int fd) {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), error);
  fathom::flushed().emplace_back(path.filename().string(), std::filesystem::file_size(path, error));
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

namespace fathom {
namespace {

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
    steps.push_back(parse_json(lines.substr(begin, lines.find('\n', begin) - begin))["step"]);
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
  const auto line = parse_json(text());
  EXPECT_EQ(line["val_loss"], 2.0);
  EXPECT_DOUBLE_EQ(line["val_ppl"].get<double>(), std::exp(2.0));
  EXPECT_DOUBLE_EQ(line["val_loss_stderr"].get<double>(), 1.0);
  const auto eval = read_json(folder_ / "evals/step-4.json");
  EXPECT_EQ(eval["nll"], nlohmann::json({2.0, 6.0}));
  EXPECT_EQ(eval["val_loss_stderr"], line["val_loss_stderr"]);
  // One sequence has no standard error, which is not one of 0.
  m.validation = SequenceLoss{{2.0}, {2}};
  log.add_evaluation(m, 2, "f");
  EXPECT_TRUE(read_json(folder_ / "evals/step-4.json")["val_loss_stderr"].is_null());
}

// A checkpoint that outlives a power cut would be of no use to the curves whose last lines do not.
class MetricsLogRun : public test::RunTest {};

TEST_F(MetricsLogRun, ReachesTheDiskBeforeACheckpoint) {
  TrainSettings s = settings("run");
  s.save_every = 4;
  flushed().clear();
  run(s);
  std::vector<uintmax_t> sizes;
  bool events = false;
  for (const auto& [name, size] : flushed()) {
    if (name == "metrics.jsonl") sizes.push_back(size);
    events = events || name.starts_with("events.out.tfevents");
  }
  const std::string text = read_text_file(at("run/metrics.jsonl"));
  ASSERT_EQ(sizes.size(), 2u);
  EXPECT_EQ(std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(sizes[0]), '\n'), 4);
  EXPECT_GE(std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(sizes[1]), '\n'), 7);
  EXPECT_TRUE(events);
}

TEST_F(MetricsLogTest, TellsOfLinesThatAreLost) {
  std::string warnings;
  const LogSink before = set_log_sink([&](LogLevel level, const std::string& text) {
    if (level == LogLevel::kWarning) warnings += text;
  });
  {
    MetricsLog log(folder_.path(), {});
    for (uint64_t n = 1; n <= 3; ++n) log.add(step(n));
  }
  { const MetricsLog log(folder_.path(), 3); }
  EXPECT_EQ(warnings, "");
  { const MetricsLog log(folder_.path(), 5); }
  set_log_sink(before);
  EXPECT_NE(warnings.find("metrics.jsonl: ends with step 3, the run goes on after step 5"), std::string::npos)
      << warnings;
}

}  // namespace
}  // namespace fathom
