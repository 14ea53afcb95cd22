// Runs that train a part of a model, or adapters beside it, from a checkpoint.

#include <cmath>
#include <set>

#include "core/json.h"
#include "core/log.h"
#include "io/adapter.h"
#include "io/safetensors.h"
#include "model/logit_deviation.h"
#include "run_fixture.h"
#include "support/family_models.h"
#include "support/heard_progress.h"
#include "support/tiny_model.h"
#include "train/merge.h"
#include "train/run_plan.h"
#include "train/trained_part.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using test::RunTest;

constexpr ErrorCode kUsage = ErrorCode::kUsage, kFailed = ErrorCode::kFailed;

class PartRun : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    TrainSettings base = settings("base");
    base.norm = "pre";
    base.steps = 6;
    run(base);
  }

  TrainSettings from_base(const std::string& out) const {
    TrainSettings s = settings(out);
    s.model = "";
    s.norm = "";
    s.from = at("base").string();
    s.steps = 4;
    return s;
  }
  TrainSettings adapters(const std::string& out) const {
    TrainSettings s = from_base(out);
    s.lora_rank = 2;
    return s;
  }

  static std::vector<float> values(const fs::path& model) {
    ResidentWeights<float> weights(read_config(model));
    load_weights(weights, model);
    return {weights.values(), weights.values() + weights.count()};
  }
  static std::string state_of(const TrainSettings& s) {
    const fs::path last = resolve_model(s.out);
    const std::string model = fs::exists(last / "model.safetensors") ? "model" : "adapter_model";
    return bytes_of(last / (model + ".safetensors")) + bytes_of(last / "state.safetensors");
  }
  void expect_resumes(TrainSettings s, const std::string& name) {
    TrainSettings straight = s, halves = s;
    straight.out = at(name + "-straight").string();
    halves.out = at(name + "-halves").string();
    straight.probe_every = halves.probe_every = 1;
    run(straight);
    ASSERT_TRUE(run_until(halves, 2).stopped) << name;
    ASSERT_FALSE(run(resumed(halves)).stopped) << name;
    EXPECT_EQ(state_of(straight), state_of(halves)) << name;
    const auto a = metrics(straight), b = metrics(halves);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      for (const char* key : {"loss", "grad_norm", "layer_variance", "layer_grad_norm"})
        EXPECT_EQ(a[i][key], b[i][key]) << name << " step " << i + 1 << " " << key;
    }
  }
};

TEST_F(PartRun, FrozenTensorsKeepTheirBitsAndTrainedOnesMove) {
  for (const char* dtype : {"fp32", "bf16"}) {
    TrainSettings s = from_base(std::string("upper-") + dtype);
    s.dtype = dtype;
    s.train_layers = "2,4";
    s.weight_decay = 0.5;  // would move what is not looked at
    const TrainResult result = run(s);
    const std::vector<float> before = values(resolve_model(s.from)), after = values(resolve_model(s.out));
    size_t trained = 0;
    for (const ParamSpec& spec : parameter_list(read_config(resolve_model(s.out)))) {
      const bool same =
          std::equal(before.begin() + long(spec.offset), before.begin() + long(spec.offset + spec.size()),
                     after.begin() + long(spec.offset));
      const bool is_trained = spec.layer == 1 || spec.layer == 3;
      EXPECT_EQ(same, !is_trained) << spec.name;
      trained += is_trained ? spec.size() : 0;
    }
    EXPECT_EQ(result.trained_parameters, trained);
    EXPECT_LT(result.trained_parameters, result.parameters);
    const SafetensorsFile state(resolve_model(s.out) / "state.safetensors");
    EXPECT_EQ(state.find("m.model.embed_tokens.weight"), nullptr);
    EXPECT_NE(state.find("m.model.layers.3.mlp.up_proj.weight"), nullptr);
  }
}

TEST_F(PartRun, ResumesBitForBit) {
  for (const char* dtype : {"fp32", "bf16"}) {
    TrainSettings layers = from_base(""), lora = adapters("");
    layers.dtype = lora.dtype = dtype;
    layers.train_layers = "3-4";
    lora.save_dtype = "bf16";
    expect_resumes(layers, std::string("layers-") + dtype);
    expect_resumes(lora, std::string("lora-") + dtype);
  }
}

TEST_F(PartRun, AdaptersLearnAndOpenAsAModelWhereverOneIsAskedFor) {
  TrainSettings s = adapters("lora");
  s.steps = 30;
  s.eval_every = 10;
  const TrainResult result = run(s);
  const fs::path last = resolve_model(s.out);
  EXPECT_TRUE(is_adapter(last));
  EXPECT_FALSE(fs::exists(last / "model.safetensors"));
  EXPECT_TRUE(fs::exists(last / "tokenizer_config.json"));
  EXPECT_EQ(result.trained_parameters, parameter_count(adapter_list(read_adapted_config(last))));
  const auto lines = metrics(s);
  EXPECT_LT(lines.back()["val_loss"].get<double>(), lines[9]["val_loss"].get<double>());
  // Folded, it is another model than the base, and of the same form.
  const std::vector<float> base = values(resolve_model(s.from)), folded = values(last);
  ASSERT_EQ(base.size(), folded.size());
  for (const ParamSpec& spec : parameter_list(read_config(last))) {
    const bool same =
        std::equal(base.begin() + long(spec.offset), base.begin() + long(spec.offset + spec.size()),
                   folded.begin() + long(spec.offset));
    EXPECT_EQ(same, !projection_of(spec.role).has_value()) << spec.name;
  }
}

TEST_F(PartRun, MergedIsTheSameModelWithoutAnAdapter) {
  const TrainSettings s = adapters("lora");
  run(s);
  const fs::path last = resolve_model(s.out), out = at("merged");
  test::HeardProgress heard;
  const MergeResult r = merge_adapter(
      last, out, [](const fs::path&) {}, &heard);
  const std::string all = std::to_string(r.parameters) + " parameters";
  EXPECT_EQ(heard.text(), "load " + all + ", write " + all + ", load " + all + ", load " + all);
  EXPECT_LT(r.deviation, 1e-5);
  EXPECT_EQ(values(out), values(last));
  EXPECT_ERROR(merge_adapter(last, out, [](const fs::path&) {}), kFailed, "exists already");
  EXPECT_ERROR(merge_adapter(out, at("again"), [](const fs::path&) {}), kUsage, "is no adapter");
  EXPECT_FALSE(fs::exists(at("again")));
}

TEST_F(PartRun, AnAdapterIsHeldToItsBase) {
  const TrainSettings s = adapters("lora");
  run(s);
  const fs::path last = resolve_model(s.out);
  TrainSettings other = settings("other");
  other.norm = "pre";
  other.seed = 9;
  run(other);
  const fs::path tensors = last / "adapter_model.safetensors";
  const std::string good = read_text_file(tensors);
  write_text_file(tensors, good.substr(0, good.size() - 4) + std::string("\0\0\xc0\x7f", 4));  // a NaN
  EXPECT_ERROR(values(last), kFailed, "adapter_model.safetensors", "is not finite");
  write_text_file(tensors, good);
  const fs::path config = last / "adapter_config.json";
  auto json = read_json(config);
  EXPECT_EQ(json["r"], 2);
  EXPECT_EQ(json["lora_alpha"], 4);
  EXPECT_EQ(json["target_modules"].size(), 7u);
  json["base_model_name_or_path"] = resolve_model(other.out).string();
  write_text_file(config, json.dump());
  EXPECT_ERROR(values(last), kFailed, "was trained beside another base", "fingerprint");
  EXPECT_ERROR(run(resumed(s)), kFailed, "was trained beside another base");
  json["base_model_name_or_path"] = "nobody/nothing";
  write_text_file(config, json.dump());
  EXPECT_ERROR(values(last), kFailed, "'nobody/nothing', which is not here");
  json["use_dora"] = true;
  json["base_model_name_or_path"] = s.from;
  write_text_file(config, json.dump());
  EXPECT_ERROR(read_adapted_config(last), kFailed, "use_dora", "not computed");
}

// The run that the base belongs to deletes it once it has saved newer ones.
TEST_F(PartRun, WarnsOfABaseThatItsRunMayDelete) {
  std::string warnings;
  const LogSink before = set_log_sink([&](LogLevel level, const std::string& text) {
    if (level == LogLevel::kWarning) warnings += text;
  });
  int runs = 0;
  const auto warnings_beside = [&](const TrainSettings& base, bool adapted) {
    TrainSettings s = adapters("beside-" + std::to_string(runs++));
    if (!adapted) s.lora_rank = kUnset;
    s.from = base.out;
    s.steps = 1;
    warnings.clear();
    run(s);
    return warnings;
  };
  TrainSettings going = settings("going");
  going.norm = "pre";
  going.steps = 4;
  run_until(going, 2);
  const std::string told = warnings_beside(going, true);
  EXPECT_NE(told.find(at("going/checkpoints/step-2").string()), std::string::npos) << told;
  EXPECT_NE(told.find("--from"), std::string::npos) << told;
  EXPECT_EQ(warnings_beside(going, false), "") << "a run of the whole model keeps all weights itself";
  run(resumed(going));
  EXPECT_EQ(warnings_beside(going, true), "") << "a run that has ended deletes nothing";
  TrainSettings keeping = settings("keeping");
  keeping.norm = "pre";
  keeping.steps = 4;
  keeping.keep = 0;
  run_until(keeping, 2);
  EXPECT_EQ(warnings_beside(keeping, true), "");
  set_log_sink(before);
}

TEST_F(PartRun, RefusesSettingsThatDoNotFit) {
  const auto with = [&](auto change) {
    TrainSettings s = from_base("refused");
    change(s);
    run(s);
  };
  EXPECT_ERROR(with([](auto& s) { s.lora_rank = 0; }), kUsage, "--lora-rank 0");
  EXPECT_ERROR(with([](auto& s) { s.lora_targets = "q"; }), kUsage, "go with --lora-rank");
  EXPECT_ERROR(with([](auto& s) { s.lora_rank = 2, s.lora_targets = "querry"; }), kUsage,
               "unknown target 'querry'");
  EXPECT_ERROR(with([](auto& s) { s.train_layers = "3-5"; }), kUsage, "--train-layers '3-5'", "1..4");
  EXPECT_ERROR(with([](auto& s) { s.train_layers = "4-3"; }), kUsage, "'4-3' runs backwards");
  EXPECT_ERROR(with([](auto& s) { s.norm = "lns"; }), kUsage, "pre to lns", "--norm-init preserve");
  EXPECT_ERROR(with([](auto& s) { s.norm = "lns", s.norm_init = "keep"; }), kUsage,
               "unknown --norm-init 'keep'");
  EXPECT_ERROR(with([](auto& s) { s.norm_init = "raw"; }), kUsage, "--norm-init goes with");
  EXPECT_ERROR(with([](auto& s) { s.norm = "sandwich", s.norm_init = "raw"; }), kUsage, "from pre to lns");
  EXPECT_ERROR(with([](auto& s) { s.norm = "lns", s.norm_init = "raw", s.lora_rank = 2; }), kUsage,
               "adapters");
  TrainSettings scratch = settings("refused");
  scratch.lora_rank = 2;
  EXPECT_ERROR(run(scratch), kUsage, "--from");
  EXPECT_FALSE(fs::exists(at("refused")));
}

// The weights under the other scheme, with and without what preserves their function.
void expect_preserved(const fs::path& model, double tolerance) {
  ResidentWeights<float> weights(read_config(model));
  load_weights(weights, model);
  Transformer<float> before(weights.config(), weights);
  const std::vector<float> expected = trial_logits(before);
  ModelConfig lns = weights.config();
  lns.norm.type = NormType::kLns;
  Transformer<float> after(lns, weights);
  EXPECT_GT(logit_deviation(trial_logits(after), expected), 100 * tolerance) << "raw";
  for (const ParamSpec& spec : weights.list()) preserve_function(weights.values(spec), spec, lns);
  weights.refresh();
  EXPECT_LT(logit_deviation(trial_logits(after), expected), tolerance) << "preserved";
}

TEST_F(PartRun, LnsKeepsTheFunctionOfAPreLnCheckpointWhereAsked) {
  expect_preserved(resolve_model(at("base")), 1e-5);
  for (const char* family : {"qwen2", "mistral", "llama"}) {
    SCOPED_TRACE(family);
    expect_preserved(fs::path(FATHOM_SOURCE_DIR) / "tests/parity/families" / family, 1e-5);
  }
}

TEST_F(PartRun, TrainsOnUnderLns) {
  TrainSettings preserve = from_base("preserve"), raw = from_base("raw"), plain = from_base("plain");
  preserve.norm = raw.norm = "lns";
  preserve.norm_init = "preserve";
  raw.norm_init = "raw";
  run(preserve);
  run(raw);
  run(plain);
  const auto first = [](const TrainSettings& s) { return metrics(s)[0]["loss"].get<double>(); };
  EXPECT_NEAR(first(preserve), first(plain), 1e-5);
  EXPECT_GT(std::abs(first(raw) - first(plain)), 1e-4);
  EXPECT_EQ(read_config(resolve_model(preserve.out)).norm.type, NormType::kLns);
  EXPECT_EQ(run(resumed(preserve)).step, 4u);
}

TEST_F(PartRun, AddsUpAStepOverMicrobatchesByItsScoredTokens) {
  TrainSettings whole = from_base("whole"), parts = from_base("parts");
  parts.batch = 1;
  parts.grad_accum = 4;
  run(whole);
  run(parts);
  const auto a = metrics(whole), b = metrics(parts);
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_NEAR(a[i]["loss"].get<double>(), b[i]["loss"].get<double>(), 1e-5);
}

TEST(TrainedPart, CountsTheProductsThatAreDone) {
  const ModelConfig config = test::tiny_config(NormType::kPre);
  const auto all = parameter_list(config);
  const double full = train_flops_per_token(config, 32);
  EXPECT_DOUBLE_EQ(trained_flops_per_token(config, all, 32), full);
  const auto upper = choose(all, [](const ParamSpec& p) { return p.layer >= 2; });
  const double part = trained_flops_per_token(config, upper, 32);
  EXPECT_LT(part, 0.8 * full);
  EXPECT_GT(part, full / 3);
}

}  // namespace
}  // namespace fathom
