#include "core/json.h"
#include "io/safetensors.h"
#include "run_fixture.h"
#include "support/tiny_model.h"
#include "train/checkpoints.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using test::RunTest;

constexpr ErrorCode kUsage = ErrorCode::kUsage, kFailed = ErrorCode::kFailed;

class Resume : public RunTest {
 protected:
  // Four steps straight, against two, a stop, and two more.
  void expect_same_bits(TrainSettings s, const std::string& name) {
    s.steps = 4;
    s.probe_every = 1;
    TrainSettings straight = s, halves = s;
    straight.out = at(name + "-straight").string();
    halves.out = at(name + "-halves").string();
    run(straight);
    const TrainResult stopped = run_until(halves, 2);
    ASSERT_TRUE(stopped.stopped) << name;
    ASSERT_EQ(stopped.step, 2u) << name;
    ASSERT_FALSE(run(resumed(halves)).stopped) << name;
    EXPECT_EQ(final_state(straight), final_state(halves)) << name;
    expect_same_metrics(straight, halves);
  }
  static void expect_same_metrics(const TrainSettings& one, const TrainSettings& other) {
    const auto a = metrics(one), b = metrics(other);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      for (const char* key : {"step", "tokens", "loss", "lr", "grad_norm", "val_loss", "val_ppl",
                              "val_loss_stderr", "layer_variance", "layer_grad_norm"}) {
        ASSERT_EQ(a[i].contains(key), b[i].contains(key)) << other.out << " step " << i + 1 << " " << key;
        if (!a[i].contains(key)) continue;
        EXPECT_EQ(a[i][key], b[i][key]) << other.out << " step " << i + 1 << " " << key;
      }
    }
  }
};

TEST_F(Resume, ContinuesBitForBitUnderEverySchemeAndType) {
  for (const NormType type : test::all_norms()) {
    for (const char* dtype : {"fp32", "bf16"}) {
      TrainSettings s = settings("");
      s.norm = norm_name(type);
      s.dtype = dtype;
      expect_same_bits(s, s.norm + "-" + dtype);
    }
  }
}

// Files hold Gemma's gains less one. Of small gains neither the difference nor the sum is exact.
TEST_F(Resume, ContinuesBitForBitWithGainsThatFilesHoldLessOne) {
  nlohmann::json gemma = test::tiny_model_json();
  gemma.update({{"model_type", "gemma2"}, {"head_dim", 8}, {"query_pre_attn_scalar", 168}});
  write_model(gemma);
  ResidentWeights<float> source(read_config(at("model.json")));
  initialize(source.values(), source.list(), 1);
  for (const ParamSpec& spec : source.list()) {
    for (size_t i = 0; is_norm_weight(spec.role) && i < spec.size(); ++i)
      source.values(spec)[i] = 0.03f + 0.017f * static_cast<float>(i % 16);
  }
  fs::create_directories(at("source"));
  save_model(at("source"), source.config(), source.list(), source.values(), DType::kF32);
  for (const char* dtype : {"fp32", "bf16"}) {
    TrainSettings s = settings("");
    s.model = s.norm = "";
    s.from = at("source").string();
    s.dtype = dtype;
    expect_same_bits(s, std::string("gemma-") + dtype);
  }
}

TEST_F(Resume, KeepsMastersBesideABf16Model) {
  TrainSettings s = settings("");
  s.save_dtype = "bf16";
  s.dtype = "bf16";
  s.grad_accum = 2;
  s.schedule = "wsd";
  expect_same_bits(s, "masters");
  EXPECT_EQ(read_train_state(resolve_model(at("masters-halves"))).step, 4u);
  const auto config = read_json(resolve_model(at("masters-halves")) / "config.json");
  EXPECT_EQ(config["torch_dtype"], "bfloat16");
}

TEST_F(Resume, ContinuesBf16MomentsBitForBit) {
  for (const char* dtype : {"fp32", "bf16"}) {
    TrainSettings s = settings("");
    s.dtype = dtype;
    s.optimizer_state = "bf16";
    expect_same_bits(s, std::string("moments-") + dtype);
  }
  const SafetensorsFile state(resolve_model(at("moments-bf16-halves")) / "state.safetensors");
  for (const auto& [name, tensor] : state.tensors()) EXPECT_EQ(tensor.type, StoredType::kBf16) << name;
}

TEST_F(Resume, RefusesMomentsOfAnotherType) {
  TrainSettings s = settings("run"), half = settings("half");
  s.steps = half.steps = 2;
  half.optimizer_state = "bf16";
  run(s);
  run(half);
  TrainSettings changed = resumed(s);
  changed.optimizer_state = "bf16";
  EXPECT_ERROR(run(changed), kUsage, "--optimizer-state is 'bf16', the run was started with 'fp32'",
               "--from");
  fs::copy_file(resolve_model(half.out) / "state.safetensors", resolve_model(s.out) / "state.safetensors",
                fs::copy_options::overwrite_existing);
  EXPECT_ERROR(run(resumed(s)), kFailed, "state.safetensors", "m.model.embed_tokens.weight",
               "holds BF16, the run keeps F32", "--optimizer-state");
}

TEST_F(Resume, OfACompleteRunDoesNothing) {
  const TrainSettings s = settings("run");
  run(s);
  const std::string before = final_state(s);
  const TrainResult again = run(resumed(s));
  EXPECT_EQ(again.step, 8u);
  EXPECT_EQ(final_state(s), before);
  EXPECT_EQ(metrics(s).size(), 8u);
}

TEST_F(Resume, WithoutACheckpointStartsAnew) {
  const TrainSettings s = settings("run"), other = settings("other");
  run(other);
  run(s);
  fs::remove_all(at("run/checkpoints"));
  fs::remove(at("run/config.json"));  // as if killed before it stood
  run(resumed(s));
  EXPECT_EQ(final_state(s), final_state(other));
  EXPECT_EQ(metrics(s).size(), 8u);
}

TEST_F(Resume, DropsWhatWasNotSaved) {
  TrainSettings s = settings("run");
  s.save_every = 3;
  s.eval_every = 1;
  run(s);  // checkpoints 6 and 8 are kept
  fs::remove_all(at("run/checkpoints/step-8"));
  const auto before = metrics(s);
  write_text_file(at("run/metrics.jsonl"), read_text_file(at("run/metrics.jsonl")) + "{\"step\": 9, \"lo");
  fs::create_directories(at("run/checkpoints/.tmp-step-9"));
  fs::create_directories(at("run/checkpoints/.old-step-1"));
  run(resumed(s));
  const auto after = metrics(s);
  ASSERT_EQ(after.size(), 8u);
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(after[i]["loss"], before[i]["loss"]);
  EXPECT_FALSE(fs::exists(at("run/checkpoints/.tmp-step-9")));
  EXPECT_FALSE(fs::exists(at("run/checkpoints/.old-step-1")));
}

// An evaluation that is due may take longer than whoever stops the run waits.
TEST_F(Resume, MakesUpForAnEvaluationThatAStopCutShort) {
  for (const uint64_t last : {uint64_t{4}, uint64_t{8}}) {
    TrainSettings straight = settings("straight" + std::to_string(last)),
                  halves = settings("halves" + std::to_string(last));
    straight.eval_every = halves.eval_every = straight.probe_every = halves.probe_every = 2;
    run(straight);
    const TrainResult stopped = run_until(halves, last);
    EXPECT_TRUE(stopped.stopped);
    EXPECT_EQ(stopped.step, last);
    EXPECT_EQ(resolve_model(halves.out).filename(), "step-" + std::to_string(last));
    const fs::path evaluation = fs::path(halves.out) / "evals" / ("step-" + std::to_string(last) + ".json");
    EXPECT_FALSE(fs::exists(evaluation));
    ASSERT_EQ(metrics(halves).size(), last);
    EXPECT_FALSE(metrics(halves).back().contains("val_loss"));
    const TrainResult ended = run(resumed(halves));
    EXPECT_FALSE(ended.stopped);
    EXPECT_TRUE(ended.validation.has_value());
    EXPECT_EQ(final_state(straight), final_state(halves));
    expect_same_metrics(straight, halves);
    EXPECT_EQ(bytes_of(evaluation),
              bytes_of(fs::path(straight.out) / "evals" / ("step-" + std::to_string(last) + ".json")));
  }
}

TEST_F(Resume, MakesUpForAnEvaluationInWhichItWasKilled) {
  TrainSettings straight = settings("straight"), s = settings("run");
  straight.eval_every = s.eval_every = straight.save_every = s.save_every = 2;
  straight.probe_every = s.probe_every = 3;
  run(straight);
  run(s);
  const std::string log = read_text_file(at("run/log.txt"));
  EXPECT_LT(log.find("saved " + at("run/checkpoints/step-6").string()), log.find("step 6: loss"));
  // As it stands once the checkpoint of step 6 does.
  fs::remove_all(at("run/checkpoints/step-8"));
  fs::remove(at("run/evals/step-6.json"));
  fs::remove(at("run/evals/step-8.json"));
  const std::string lines = read_text_file(at("run/metrics.jsonl"));
  write_text_file(at("run/metrics.jsonl"), lines.substr(0, lines.find("{\"step\":6,")));
  run(resumed(s));
  EXPECT_EQ(final_state(straight), final_state(s));
  expect_same_metrics(straight, s);
  EXPECT_EQ(bytes_of(at("run/evals/step-6.json")), bytes_of(at("straight/evals/step-6.json")));
}

TEST_F(Resume, RefusesOtherSettings) {
  TrainSettings s = settings("run");
  s.steps = 4;
  run(s);
  const auto with = [&](auto change) {
    TrainSettings other = resumed(s);
    change(other);
    run(other);
  };
  EXPECT_ERROR(with([](auto& o) { o.lr = 1; }), kUsage, "--lr is '1', the run was started with '0.005'");
  EXPECT_ERROR(with([](auto& o) { o.steps = 5; }), kUsage, "--steps is '5'", "--from");
  EXPECT_ERROR(with([](auto& o) { o.norm = "pre"; }), kUsage, "--norm is 'pre'", "'lns'");
  EXPECT_ERROR(with([](auto& o) { o.dtype = "bf16"; }), kUsage, "--dtype");
  EXPECT_NO_THROW(with([](auto& o) { o.keep = 5; }));
}

TEST_F(Resume, RefusesAnotherModelOrOtherData) {
  TrainSettings s = settings("run");
  s.steps = 2;
  run(s);
  nlohmann::json model = test::tiny_model_json();
  model["hidden_size"] = 32;
  write_model(model);
  EXPECT_ERROR(run(resumed(s)), kFailed, "model.json", "head_dim is 16, not 8");
  write_model(test::tiny_model_json());
  test::make_data(at("other"), 40, 6, 2);
  TrainSettings other = resumed(s);
  other.data = at("other").string();
  EXPECT_ERROR(run(other), kFailed, "holds other tokens", "fingerprint");
}

TEST_F(Resume, RefusesAFolderThatWasTamperedWith) {
  TrainSettings s = settings("run");
  s.steps = 2;
  run(s);
  const fs::path last = resolve_model(s.out), state = last / "state.json";
  const std::string good = read_text_file(state);
  write_text_file(state, "{\"format\": ");
  EXPECT_ERROR(run(resumed(s)), kFailed, "state.json", "is damaged");
  auto json = parse_json(good);
  json["version"] = 3;
  write_text_file(state, json.dump());
  EXPECT_ERROR(run(resumed(s)), kFailed, "another version");
  json["version"] = 2;
  json["settings_fingerprint"] = "0";
  write_text_file(state, json.dump());
  const auto written = fs::last_write_time(at("run/run.toml"));
  json["data_seed"] = 9;
  write_text_file(state, json.dump());
  EXPECT_ERROR(run(resumed(s)), kFailed, "was saved with data_seed 9, run.toml says 1");
  json["seed"] = 8;
  write_text_file(state, json.dump());
  EXPECT_ERROR(run(resumed(s)), kFailed, "was saved with seed 8, run.toml says 1");
  json["data_fingerprint"] = "17";
  write_text_file(state, json.dump());
  EXPECT_ERROR(run(resumed(s)), kFailed, "was saved on other data (fingerprint 17)");
  for (const char* key : {"seed", "data_seed", "data_fingerprint"}) json.erase(key);
  write_text_file(state, json.dump());
  EXPECT_ERROR(run(resumed(s)), kFailed, "was saved under other settings");
  EXPECT_EQ(fs::last_write_time(at("run/run.toml")), written);  // a refusal changes nothing
  write_text_file(state, good);
  fs::remove(last / "state.safetensors");
  EXPECT_ERROR(run(resumed(s)), kFailed, "state.safetensors");
}

TEST_F(Resume, TakesCheckpointsOfBeforeAndAsksForWhatItNeedsAlone) {
  TrainSettings s = settings("run"), straight = settings("straight");
  run(straight);
  run_until(s, 4);
  const fs::path state = resolve_model(s.out) / "state.json";
  const auto now = read_json(state);
  nlohmann::json before = {
      {"format", "fathom-train-state"}, {"version", 1}, {"step", 4}, {"tokens", 256}, {"next_window", 16}};
  for (const char* key : {"seed", "data_seed", "data_fingerprint", "settings_fingerprint"})
    before[key] = now.at(key);
  write_text_file(state, before.dump());
  EXPECT_EQ(read_train_state(resolve_model(s.out)).step, 4u);
  for (const char* key : {"tokens", "next_window", "seed", "data_seed", "data_fingerprint"})
    before.erase(key);
  write_text_file(state, before.dump());
  run(resumed(s));
  EXPECT_EQ(final_state(s), final_state(straight));
  expect_same_metrics(straight, s);
}

TEST_F(Resume, RefusesAFolderWithoutARun) {
  EXPECT_ERROR(run(resumed(settings("none"))), kUsage, "holds no run to resume");
}

TEST_F(Resume, WorksFromAnotherPlace) {
  TrainSettings s = settings("run");
  s.steps = 4;
  run_until(s, 2);
  fs::rename(at("run"), at("moved"));
  TrainSettings moved = resumed(s);
  moved.out = at("moved").string();
  EXPECT_EQ(run(moved).step, 4u);
}

}  // namespace
}  // namespace fathom
