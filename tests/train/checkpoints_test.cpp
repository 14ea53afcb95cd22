#include "train/checkpoints.h"

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

}  // namespace
}  // namespace fathom
