#include "train/train.h"

#include <cmath>

#include "core/json.h"
#include "core/threads.h"
#include "run_fixture.h"
#include "train/run_plan.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using test::RunTest;

class Train : public RunTest {};

TEST_F(Train, LossFallsInFp32AndBf16) {
  for (const char* dtype : {"fp32", "bf16"}) {
    TrainSettings s = settings(dtype);
    s.dtype = dtype;
    s.steps = 60;
    const TrainResult result = run(s);
    const auto lines = metrics(s);
    ASSERT_EQ(lines.size(), 60u);
    EXPECT_NEAR(lines.front()["loss"].get<double>(), std::log(259.0), 0.3)
        << "an untrained model knows nothing";
    EXPECT_LT(lines.back()["loss"].get<double>(), 4.0) << dtype;
    ASSERT_TRUE(result.validation.has_value());
    EXPECT_LT(result.validation->mean(), 4.0) << dtype;
  }
}

TEST_F(Train, LeavesARunFolderThatSaysWhatHappened) {
  TrainSettings s = settings("run");
  s.eval_every = 4;
  s.probe_every = 2;
  const TrainResult result = run(s);
  EXPECT_EQ(result.step, 8u);
  EXPECT_EQ(result.tokens, 8u * 64);
  EXPECT_FALSE(result.stopped);
  for (const char* file : {"config.json", "run.toml", "metrics.jsonl", "log.txt", "evals/step-4.json",
                           "evals/step-8.json", "checkpoints/step-8/model.safetensors",
                           "checkpoints/step-8/state.json", "checkpoints/step-8/tokenizer.json"}) {
    EXPECT_TRUE(fs::exists(at("run") / file)) << file;
  }
  EXPECT_FALSE(fs::is_empty(at("run/tensorboard")));
  const auto lines = metrics(s);
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto& line = lines[i];
    const uint64_t step = i + 1;
    EXPECT_EQ(line["step"], step);
    EXPECT_EQ(line["tokens"], step * 64);
    for (const char* key : {"loss", "lr", "grad_norm", "tokens_per_second", "mfu"})
      EXPECT_GT(line[key].get<double>(), 0.0) << key;
    EXPECT_EQ(line.contains("val_loss"), step % 4 == 0);
    EXPECT_EQ(line.contains("layer_variance"), step % 2 == 0);
    if (line.contains("layer_variance")) {
      EXPECT_EQ(line["layer_variance"].size(), 4u);
      EXPECT_EQ(line["layer_grad_norm"].size(), 4u);
    }
  }
  const auto eval = read_json(at("run/evals/step-8.json"));
  EXPECT_EQ(eval["sequences"], 4);  // 64 tokens of 16
  EXPECT_EQ(eval["nll"].size(), 4u);
  EXPECT_EQ(eval["count"], nlohmann::json({16, 16, 16, 16}));
  EXPECT_EQ(eval["val_loss"], lines.back()["val_loss"]);
  EXPECT_EQ(eval["data_fingerprint"], data_fingerprint(TokenData(at("data"))));
  const std::string log = read_text_file(at("run/log.txt"));
  for (const char* part : {"normalization  lns", "memory", "layer 4        norm in x 0.50000", "saved "})
    EXPECT_NE(log.find(part), std::string::npos) << part;
}

TEST_F(Train, SameSeedSameBitsWhateverTheThreads) {
  TrainSettings a = settings("a"), b = settings("b"), c = settings("c");
  c.seed = 2;
  set_num_threads(1);
  run(a);
  set_num_threads(3);
  run(b);
  set_num_threads(0);
  run(c);
  EXPECT_EQ(final_state(a), final_state(b));
  EXPECT_NE(final_state(a), final_state(c));
}

// A checkpoint whose sublayers put out 0: whatever the scheme of the pre type, it computes the same.
void save_without_layers(const fs::path& folder, const ModelConfig& config) {
  ResidentWeights<float> weights(config);
  initialize(weights.values(), weights.list(), 1);
  for (const ParamSpec& spec : weights.list()) {
    if (spec.role == ParamRole::kO || spec.role == ParamRole::kDown)
      std::fill_n(weights.values(spec), spec.size(), 0.0f);
  }
  fs::create_directories(folder);
  save_model(folder, config, weights.list(), weights.values(), DType::kF32);
}

TEST_F(Train, TwinsSeeTheSameTokensInTheSameOrder) {
  // Without learning, and without layers, a step's loss tells its tokens alone.
  const auto losses = [&](const std::string& norm, uint64_t data_seed) {
    ModelConfig config = read_config(at("model.json"));
    config.norm.type = parse_norm(norm);
    TrainSettings s = settings(norm + std::to_string(data_seed));
    save_without_layers(at("from-" + norm), config);
    s.model.clear();
    s.norm.clear();
    s.from = at("from-" + norm).string();
    s.lr = 0;
    s.data_seed = data_seed;
    run(s);
    std::vector<double> losses;
    for (const auto& line : metrics(s)) losses.push_back(line["loss"]);
    return losses;
  };
  const auto lns = losses("lns", 1);
  EXPECT_EQ(losses("pre", 1), lns);
  EXPECT_NE(losses("pre", 2), lns);
}

TEST_F(Train, AccumulationGivesTheGradientOfTheWholeStep) {
  TrainSettings whole = settings("whole"), parts = settings("parts");
  parts.batch = 1;
  parts.grad_accum = 4;
  run(whole);
  run(parts);
  const auto a = metrics(whole), b = metrics(parts);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_NEAR(a[i]["loss"].get<double>(), b[i]["loss"].get<double>(), 1e-4);
    EXPECT_NEAR(a[i]["grad_norm"].get<double>(), b[i]["grad_norm"].get<double>(), 1e-3);
  }
}

TEST_F(Train, RecomputeChangesNoBit) {
  for (const char* dtype : {"fp32", "bf16"}) {
    TrainSettings a = settings(std::string("a-") + dtype), b = settings(std::string("b-") + dtype);
    a.dtype = b.dtype = dtype;
    b.recompute = true;
    run(a);
    run(b);
    EXPECT_EQ(final_state(a), final_state(b)) << dtype;
  }
}

TEST_F(Train, PerplexityDoesNotHangOnBatchOrThreads) {
  std::vector<double> losses;
  for (const uint64_t batch : {1, 3, 4, 7}) {
    TrainSettings s = settings("b" + std::to_string(batch));
    s.batch = batch;
    s.lr = 0;  // the weights stay, the batch is all that differs
    s.steps = 1;
    s.eval_tokens = 100000;  // all, the last window short and padded
    set_num_threads(batch);
    const TrainResult result = run(s);
    uint64_t scored = 0;
    for (const uint64_t n : result.validation->count) scored += n;
    EXPECT_EQ(scored, 6u * 101 - 1) << "every validation token but the first, once";
    losses.push_back(result.validation->mean());
  }
  set_num_threads(0);
  for (const double loss : losses) EXPECT_NEAR(loss, losses[0], 1e-6 * losses[0]);
}

TEST_F(Train, MaskedDocumentsChangeTheLoss) {
  TrainSettings a = settings("a"), b = settings("b");
  b.mask_documents = true;
  a.seq = b.seq = 60;  // windows hold the ends of documents of 101 tokens
  run(a);
  run(b);
  EXPECT_NE(metrics(a)[0]["loss"], metrics(b)[0]["loss"]);
}

TEST_F(Train, StartsFromACheckpoint) {
  TrainSettings first = settings("first");
  run(first);
  TrainSettings second = settings("second");
  second.model.clear();  // the checkpoint's
  second.from = first.out;
  second.lr = 0;
  second.steps = 1;
  run(second);
  EXPECT_EQ(bytes_of(resolve_model(first.out) / "model.safetensors"),
            bytes_of(resolve_model(second.out) / "model.safetensors"));
}

TEST_F(Train, SettingsOfASchemeArriveInItsConfig) {
  TrainSettings mix = settings("mix");
  mix.norm = "mix";
  mix.mix_post_layers = 3;
  run(mix);
  EXPECT_EQ(read_config(mix.out).norm.post_layers, 3u);
  TrainSettings gain = settings("gain");
  gain.norm = "layerscale";
  gain.layerscale_init = 0.5;
  gain.lr = 0;
  gain.steps = 1;
  run(gain);
  ResidentWeights<float> weights(read_config(gain.out));
  load_weights(weights, resolve_model(gain.out));
  EXPECT_EQ(weights.layer(0).attn.gain[0], 0.5f);
}

TEST_F(Train, KeepsTheConfigsOwnScheme) {
  nlohmann::json model = test::tiny_model_json();
  model["norm_scheme"] = {{"type", "mix"}, {"post_layers", 2}};
  write_model(model);
  TrainSettings s = settings("run");
  s.norm.clear();
  s.steps = 1;
  run(s);
  EXPECT_EQ(read_config(s.out).norm.type, NormType::kMix);
  EXPECT_EQ(read_config(s.out).norm.post_layers, 2u);
}

}  // namespace
}  // namespace fathom
