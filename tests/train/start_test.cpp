// What a run checks before it starts: each fault is one line that says what to do.

#include "core/log.h"
#include "run_fixture.h"
#include "support/tiny_model.h"
#include "train/machine.h"
#include "train/run_folder.h"
#include "train/start_report.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using test::RunTest;

constexpr ErrorCode kUsage = ErrorCode::kUsage, kFailed = ErrorCode::kFailed;

class Start : public RunTest {
 protected:
  template <class Change>
  void run_with(Change change) {
    TrainSettings s = settings("run");
    s.steps = 1;
    change(s);
    run(s);
  }
  void set_model(const char* key, const nlohmann::json& value) const {
    nlohmann::json model = test::tiny_model_json();
    model[key] = value;
    write_model(model);
  }
};

TEST_F(Start, NamesWhatIsMissing) {
  EXPECT_ERROR(run_with([](auto& s) { s.out.clear(); }), kUsage, "--out is missing");
  EXPECT_ERROR(run_with([](auto& s) { s.data.clear(); }), kUsage, "--data is missing", "fathom data");
  EXPECT_ERROR(run_with([](auto& s) { s.model.clear(); }), kUsage, "--model is missing");
  EXPECT_ERROR(run_with([&](auto& s) { s.model = at("none.json"); }), kFailed, "none.json", "no such model");
  EXPECT_ERROR(run_with([&](auto& s) { s.data = at("none"); }), kFailed, "none", "no such data folder");
  EXPECT_ERROR(run_with([&](auto& s) { s.from = at("none"); }), kFailed, "none", "no such file");
  EXPECT_FALSE(fs::exists(at("run"))) << "nothing is left behind";
}

TEST_F(Start, NamesSettingsThatDoNotFit) {
  EXPECT_ERROR(run_with([](auto& s) { s.norm = "lsn"; }), kUsage, "unknown normalization scheme 'lsn'",
               "'lns'?");
  EXPECT_ERROR(run_with([](auto& s) { s.seq = 65; }), kUsage, "--seq 65", "context of 64");
  EXPECT_ERROR(run_with([](auto& s) { s.mix_post_layers = 1; }), kUsage, "--mix-post-layers goes with");
  EXPECT_ERROR(run_with([](auto& s) { s.layerscale_init = 1; }), kUsage, "--layerscale-init goes with");
  EXPECT_ERROR(run_with([](auto& s) {
                 s.norm = "mix";
                 s.mix_post_layers = 5;
               }),
               kFailed, "post_layers is 5", "4 layers");
  EXPECT_ERROR(run_with([](auto& s) { s.warmup = 2; }), kUsage, "--warmup 2");
}

TEST_F(Start, NamesABadModel) {
  set_model("num_attention_heads", 3);
  EXPECT_ERROR(run_with([](auto&) {}), kFailed, "model.json");
  set_model("vocab_size", 300);
  EXPECT_ERROR(run_with([](auto&) {}), kFailed, "the data's vocabulary has 259 entries, the model's 300");
  write_text_file(at("model.json"), "{");
  EXPECT_ERROR(run_with([](auto&) {}), kFailed, "model.json");
}

TEST_F(Start, NamesBadData) {
  const fs::path shard = at("data/train-00000.fathom-tokens");
  std::string bytes = read_text_file(shard);
  bytes[200] = static_cast<char>(bytes[200] ^ 1);
  write_text_file(shard, bytes);
  EXPECT_ERROR(run_with([](auto&) {}), kFailed, "train-00000.fathom-tokens");
  write_text_file(shard, bytes.substr(0, 150));
  EXPECT_ERROR(run_with([](auto&) {}), kFailed, "train-00000.fathom-tokens");
  fs::remove(at("data/data.json"));
  EXPECT_ERROR(run_with([](auto&) {}), kFailed, "no data.json");
}

TEST_F(Start, NeedsValidationTextOnlyWhereAskedToEvaluate) {
  test::make_data(at("plain"), 40, 0);
  EXPECT_ERROR(run_with([&](auto& s) {
                 s.data = at("plain");
                 s.eval_every = 5;
               }),
               kFailed, "no validation tokens for --eval-every", "--valid-fraction");
  TrainSettings s = settings("run");
  s.data = at("plain");
  s.eval_every = kUnset;
  EXPECT_FALSE(run(s).validation.has_value());
  EXPECT_NE(read_text_file(at("run/log.txt")).find("warning: "), std::string::npos);
}

TEST_F(Start, RefusesAFolderThatIsTaken) {
  TrainSettings s = settings("run");
  s.steps = 1;
  run(s);
  EXPECT_ERROR(run(s), kFailed, "run: holds another run", "--resume");
  EXPECT_ERROR(run_with([&](auto& o) { o.out = at("data"); }), kFailed,
               "data: exists already and is not empty");
  EXPECT_ERROR(run_with([&](auto& o) { o.out = at("model.json"); }), kFailed, "exists already");
  EXPECT_ERROR(run_with([&](auto& o) { o.out = "/proc/none"; }), kFailed, "cannot create the folder");
  const RunFolder open(at("run"), true);
  EXPECT_ERROR(run(resumed(s)), kFailed, "another process trains in this folder");
}

TEST_F(Start, TakesAFolderWhoseStartWasKilled) {
  fs::create_directories(at("run"));
  write_text_file(at("run/.lock"), "");
  write_text_file(at("run/run.toml.tmp-77"), "half");
  fs::create_directories(at("run/tokenizer"));  // of a run on examples
  EXPECT_NO_THROW(run_with([](auto&) {}));
}

TEST_F(Start, RefusesAFromOfAnotherShape) {
  TrainSettings first = settings("first");
  first.steps = 1;
  run(first);
  EXPECT_ERROR(run_with([&](auto& s) {
                 s.from = first.out;
                 s.norm = "pre";
               }),
               kFailed, "config.json", "checkpoint of another model");
  set_model("intermediate_size", 32);
  EXPECT_ERROR(run_with([&](auto& s) { s.from = first.out; }), kFailed, "intermediate_size is 24, not 32");
}

TEST_F(Start, WarnsOfScaledInitUnderLns) {
  std::string warnings;
  const LogSink before = set_log_sink([&](LogLevel level, const std::string& text) {
    if (level == LogLevel::kWarning) warnings += text;
  });
  run_with([](auto& s) { s.init = "scaled"; });
  set_log_sink(before);
  EXPECT_NE(warnings.find("take LNS's gain away"), std::string::npos);
}

TEST_F(Start, RefusesAModelThatDoesNotFitBeforeItAllocates) {
  nlohmann::json model = test::tiny_model_json();
  model["hidden_size"] = 65536;
  model["intermediate_size"] = 262144;
  model["num_attention_heads"] = 64;
  model["num_key_value_heads"] = 64;
  model["num_hidden_layers"] = 400;  // some 1.5e13 parameters
  write_model(model);
  EXPECT_ERROR(run_with([](auto&) {}), kFailed, "a training step takes", "available");
  EXPECT_FALSE(fs::exists(at("run")));
}

TEST(CheckConstants, StopsARunWhoseSchemeIsNotInForce) {
  for (const NormType type : test::all_norms()) {
    test::TinyModel<bf16> tiny(test::tiny_config(type));
    EXPECT_NO_THROW(check_constants(measure_constants(tiny.model, tiny.weights))) << norm_name(type);
    StepPlan& step = tiny.model.mutable_plans()[2].step;
    if (step.norm_in)
      step.in_scale *= 1.01;
    else
      step.residual *= 1.01;
    EXPECT_ERROR(check_constants(measure_constants(tiny.model, tiny.weights)), kFailed, "layer 3",
                 "not in force");
  }
}

TEST(CheckConstants, NanIsADeviation) {
  test::TinyModel<float> tiny(test::tiny_config(NormType::kPre));
  tiny.model.mutable_plans()[0].step.in_scale = std::numeric_limits<double>::quiet_NaN();
  EXPECT_ERROR(check_constants(measure_constants(tiny.model, tiny.weights)), kFailed, "layer 1");
}

TEST(Machine, MeasuresAPeak) {
  EXPECT_GT(measure_peak_tflops(DType::kF32, 0.01), 0.0);
  EXPECT_GT(measure_peak_tflops(DType::kBf16, 0.01), 0.0);
  EXPECT_FALSE(cpu_name().empty());
}

}  // namespace
}  // namespace fathom
