#include "train/nonfinite.h"

#include <limits>

#include "run_fixture.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using test::RunTest;

class NonFinite : public ::testing::Test {
 protected:
  NonFinite()
      : tiny_(test::tiny_config(NormType::kPre)),
        batch_(2, 8, 37),
        gradients_(tiny_.model.config(), list()) {}
  const std::vector<ParamSpec>& list() { return tiny_.weights.list(); }
  std::string describe() {
    return describe_non_finite(tiny_.model, list(), tiny_.weights.values(), list(), gradients_.values(),
                               batch_.view());
  }
  float* parameter(const std::string& name) {
    for (const ParamSpec& spec : list()) {
      if (spec.name == name) return tiny_.weights.values(spec);
    }
    return nullptr;
  }

  test::TinyModel<float> tiny_;
  test::TinyBatch batch_;
  Gradients<float> gradients_;
};

constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

TEST_F(NonFinite, SaysNothingOfAHealthyModel) { EXPECT_EQ(describe(), ""); }

TEST_F(NonFinite, NamesAParameter) {
  parameter("model.layers.2.mlp.up_proj.weight")[5] = kNan;
  EXPECT_EQ(describe(), "layer 3, parameter 'model.layers.2.mlp.up_proj.weight' (element 5 is NaN)");
}

TEST_F(NonFinite, NamesTheStepWhoseOutputOverflows) {
  float* o = parameter("model.layers.1.self_attn.o_proj.weight");
  std::fill_n(o, 24 * 32, 3e38f);
  const std::string text = describe();
  EXPECT_NE(text.find("layer 2, output of its attention step (token "), std::string::npos) << text;
}

TEST_F(NonFinite, NamesAnMlpStep) {
  std::fill_n(parameter("model.layers.0.mlp.down_proj.weight"), 24 * 20, 3e38f);
  const std::string text = describe();
  EXPECT_NE(text.find("layer 1, output of its MLP step"), std::string::npos) << text;
}

TEST_F(NonFinite, NamesTheLoss) {
  // Each stream is finite, its product with the head is not.
  std::fill_n(parameter("model.norm.weight"), 24, 3e38f);
  EXPECT_NE(describe().find("the loss of token 0 is "), std::string::npos) << describe();
}

TEST_F(NonFinite, NamesTheGradientNearestTheHead) {
  for (const ParamSpec& spec : list()) {
    if (spec.layer == 1) gradients_.values()[spec.offset] = kInf;
  }
  EXPECT_EQ(describe(), "layer 2, gradient of 'model.layers.1.mlp.down_proj.weight' (element 0 is Inf)");
}

class NonFiniteRun : public RunTest {};

TEST_F(NonFiniteRun, StopsBeforeTheUpdateAndKeepsTheLastGoodCheckpoint) {
  TrainSettings s = settings("run");
  s.save_every = 1;
  s.steps = 20;
  s.warmup = 3;
  s.clip = 0;
  s.weight_decay = 0;
  s.lr = 3e37;  // finite weights after the first update, an overflow in the next forward
  EXPECT_ERROR(run(s), ErrorCode::kFailed, "step ", "first not finite: ", "last good checkpoint");
  const fs::path last = resolve_model(s.out);
  ResidentWeights<float> weights(read_config(last));
  load_weights(weights, last);
  for (size_t i = 0; i < weights.count(); ++i) ASSERT_TRUE(std::isfinite(weights.values()[i]));
  EXPECT_NE(read_text_file(at("run/log.txt")).find("first not finite"), std::string::npos);
}

TEST_F(NonFiniteRun, NeverSavesWeightsThatAreNotFinite) {
  TrainSettings s = settings("run");
  s.save_every = 1;
  s.warmup = 0;
  s.lr = 1e38;
  s.weight_decay = 1000;  // p (1 - lr wd) overflows in the first update
  EXPECT_ERROR(run(s), ErrorCode::kFailed, "step 1: the update made weights that are not finite",
               "no checkpoint yet");
  EXPECT_TRUE(fs::is_empty(at("run/checkpoints")));
}

TEST_F(NonFiniteRun, NamesABadParameterOfTheStart) {
  TrainSettings first = settings("first");
  first.steps = 1;
  run(first);
  const fs::path last = resolve_model(first.out);
  const ModelConfig config = read_config(last);
  ResidentWeights<float> weights(config);
  load_weights(weights, last);
  weights.values()[7] = kNan;
  save_model(last, config, weights.list(), weights.values(), DType::kF32);
  TrainSettings s = settings("run");
  s.from = first.out;
  // Told where it is read, before a step.
  EXPECT_ERROR(run(s), ErrorCode::kFailed, "model.safetensors", "tensor 'model.embed_tokens.weight'",
               "its element 7 of", "is not finite");
}

}  // namespace
}  // namespace fathom
