#include "train/checkpoints.h"

#include <sys/fsuid.h>

#include "core/log.h"
#include "run_fixture.h"
#include "support/file_size_limit.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using test::FileSizeLimit;
using test::RunTest;

class CheckpointsTest : public RunTest {
 protected:
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(at("run/checkpoints")))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }
};

TEST_F(CheckpointsTest, KeepsTheNewest) {
  TrainSettings s = settings("run");
  s.save_every = 2;
  run(s);
  EXPECT_EQ(names(), (std::vector<std::string>{"step-6", "step-8"}));
}

TEST_F(CheckpointsTest, KeepsAllWhenAsked) {
  TrainSettings s = settings("run");
  s.save_every = 3;
  s.keep = 0;
  run(s);
  EXPECT_EQ(names(), (std::vector<std::string>{"step-3", "step-6", "step-8"}));
}

TEST_F(CheckpointsTest, ReadAsAModel) {
  const TrainSettings s = settings("run");
  run(s);
  const ModelConfig config = read_config(resolve_model(s.out));
  EXPECT_EQ(config.norm.type, NormType::kLns);
  EXPECT_EQ(config.eos_token_id, 2) << "the data's end of a document";
  ResidentWeights<float> weights(config);
  EXPECT_NO_THROW(load_weights(weights, resolve_model(s.out)));
}

TEST_F(CheckpointsTest, AFullDiskLeavesTheLastCompleteOne) {
  TrainSettings s = settings("run"), straight = settings("straight");
  run(straight);
  s.save_every = 4;
  run_until(s, 4);
  ASSERT_EQ(names(), (std::vector<std::string>{"step-4"}));
  {
    const FileSizeLimit full(20000);  // run.toml and metrics fit, the weights of 5k parameters do not
    EXPECT_ERROR(run(resumed(s)), ErrorCode::kFailed, "step-8/", "cannot write");
  }
  EXPECT_EQ(names(), (std::vector<std::string>{"step-4"})) << "no half of a checkpoint takes room";
  run(resumed(s));
  EXPECT_EQ(final_state(s), final_state(straight));
}

TEST_F(CheckpointsTest, AStateOfAnotherShapeIsRefused) {
  TrainSettings s = settings("run");
  s.steps = 1;
  run(s);
  nlohmann::json model = test::tiny_model_json();
  model["intermediate_size"] = 8;
  write_model(model);
  TrainSettings other = settings("other");
  other.steps = 1;
  run(other);
  fs::copy_file(resolve_model(other.out) / "state.safetensors", resolve_model(s.out) / "state.safetensors",
                fs::copy_options::overwrite_existing);
  write_model(test::tiny_model_json());
  EXPECT_ERROR(run(resumed(s)), ErrorCode::kFailed, "state.safetensors", "of another shape");
}

// Root could delete whatever it wants to.
class Unprivileged {
 public:
  Unprivileged() : before_(::setfsuid(kNobody)) {}
  ~Unprivileged() { ::setfsuid(static_cast<uid_t>(before_)); }
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;

 private:
  static constexpr uid_t kNobody = 65534;
  int before_;
};

class UndeletableCheckpoint : public Unprivileged, public CheckpointsTest {
 protected:
  void SetUp() override {
    CheckpointsTest::SetUp();
    before_ = set_log_sink([this](LogLevel level, const std::string& text) {
      if (level == LogLevel::kWarning) warnings_.push_back(text);
    });
  }
  void TearDown() override {
    set_log_sink(before_);
    for (const auto& entry : fs::directory_iterator(at("run/checkpoints"))) set_deletable(entry.path(), true);
  }
  static void set_deletable(const fs::path& folder, bool deletable) {
    fs::permissions(folder, fs::perms::owner_write,
                    deletable ? fs::perm_options::add : fs::perm_options::remove);
  }

  std::vector<std::string> warnings_;
  LogSink before_;
};

// As where another program has a file open on NFS.
TEST_F(UndeletableCheckpoint, DoesNotStopTheRun) {
  TrainSettings s = settings("run");
  s.save_every = 2;
  s.keep = 1;
  run_until(s, 2);
  set_deletable(at("run/checkpoints/step-2"), false);
  run_until(resumed(s), 6);
  EXPECT_EQ(names(), (std::vector<std::string>{".old-step-2", "step-6"}));
  ASSERT_EQ(warnings_.size(), 1u) << "told once, not at each save";
  EXPECT_NE(warnings_[0].find(".old-step-2: can't be deleted"), std::string::npos) << warnings_[0];
  set_deletable(at("run/checkpoints/.old-step-2"), true);
  run(resumed(s));
  EXPECT_EQ(names(), (std::vector<std::string>{"step-8"}));
}

TEST_F(UndeletableCheckpoint, OfAnUnfinishedSaveIsAnErrorWhereItsNameIsNeeded) {
  TrainSettings s = settings("run");
  s.save_every = 2;
  run_until(s, 2);
  fs::create_directories(at("run/checkpoints/.tmp-step-6"));
  write_text_file(at("run/checkpoints/.tmp-step-6/model.safetensors"), "half");
  set_deletable(at("run/checkpoints/.tmp-step-6"), false);
  EXPECT_ERROR(run(resumed(s)), ErrorCode::kFailed, ".tmp-step-6", "can't be deleted");
  EXPECT_EQ(names(), (std::vector<std::string>{".tmp-step-6", "step-2", "step-4"}));
  set_deletable(at("run/checkpoints/.tmp-step-6"), true);
  run(resumed(s));
  EXPECT_EQ(names(), (std::vector<std::string>{"step-6", "step-8"}));
}

}  // namespace
}  // namespace fathom
