// Fine-tuning on examples: the loss is that of the responses, and everything that training has is there.

#include "run_fixture.h"
#include "text/chat_template.h"
#include "train/example_source.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using test::RunTest;

constexpr ErrorCode kUsage = ErrorCode::kUsage, kFailed = ErrorCode::kFailed;

class Finetune : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    TrainSettings base = settings("base");
    base.steps = 2;
    run(base);
    // The answer follows from the last letter of the question.
    std::string lines;
    for (int i = 0; i < 60; ++i) {
      const char last = static_cast<char>('a' + i % 6);
      lines += nlohmann::json{{"prompt", std::string("q") + std::to_string(i) + last + "?"},
                              {"response", std::string(3, static_cast<char>(last + 1))}}
                   .dump() +
               "\n";
    }
    write_text_file(at("examples.jsonl"), lines);
  }

  TrainSettings examples(const std::string& out) const {
    TrainSettings s = settings(out);
    s.model = s.norm = "";
    s.from = at("base").string();
    s.data = at("examples.jsonl").string();
    s.seq = 24;
    s.batch = 2;
    s.steps = 4;
    s.valid_fraction = 0.2;
    return s;
  }
  TrainResult tune(const TrainSettings& s, uint64_t stop_at = 0) const {
    const ExampleInput input = this->input();
    StopAfter progress(stop_at);
    NoProgress none;
    if (stop_at > 0) return train(s, progress, &progress.stop, &input);
    return train(s, none, nullptr, &input);
  }
  ExampleInput input() const {
    return {Tokenizer::load(resolve_model(at("base"))),
            std::make_shared<const ChatTemplate>(
                "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}"
                "{% endfor %}",
                "<s>", "</s>", "a template")};
  }
  using StopAfter = test::StopAfter;
};

TEST_F(Finetune, LearnsTheResponses) {
  for (const uint64_t rank : {uint64_t{4}, kUnset}) {
    TrainSettings s = examples(rank == kUnset ? "full" : "lora");
    s.lora_rank = rank;
    s.lr = 2e-2;
    s.steps = 0;
    s.epochs = 30;
    const TrainResult r = tune(s);
    ASSERT_TRUE(r.validation.has_value());
    const auto lines = metrics(s);
    // Beside a base that has learned nothing, whose embedding and head stay as they are, adapters can do
    // little.
    const double share = rank == kUnset ? 0.6 : 0.9;
    EXPECT_LT(lines.back()["loss"].get<double>(), share * lines[0]["loss"].get<double>()) << s.out;
    EXPECT_LT(r.validation->mean(), share * lines[0]["loss"].get<double>()) << s.out;
    const fs::path last = resolve_model(s.out);
    EXPECT_TRUE(fs::exists(last / "tokenizer_config.json")) << s.out;
    EXPECT_NE(read_text_file(last / "chat_template.jinja").find("m.role"), std::string::npos);
  }
}

TEST_F(Finetune, EpochsAreCountedInWindows) {
  TrainSettings s = examples("run");
  s.steps = 0;
  s.epochs = 2;
  s.batch = 3;
  const ExampleInput in = input();
  TrainSettings resolved = s;
  resolved.data_seed = s.seed;
  const ExampleSource source(resolved, in);
  const uint64_t windows = source.windows_per_epoch();
  EXPECT_EQ(tune(s).steps, (2 * windows + 2) / 3);
  EXPECT_GT(source.validation_windows(), 0u);
}

TEST_F(Finetune, ResumesBitForBit) {
  TrainSettings straight = examples("straight"), halves = examples("halves");
  straight.probe_every = halves.probe_every = 1;
  straight.chat_time = halves.chat_time = 1700000000;
  straight.dtype = halves.dtype = "bf16";
  tune(straight);
  ASSERT_TRUE(tune(halves, 2).stopped);
  ASSERT_FALSE(tune(resumed(halves)).stopped);
  EXPECT_EQ(final_state(straight), final_state(halves));
  TrainSettings other = resumed(halves);
  other.system = "Be brief.";
  EXPECT_ERROR(tune(other), kUsage, "--system is 'Be brief.'");
  write_text_file(at("examples.jsonl"),
                  read_text_file(at("examples.jsonl")) + R"({"prompt":"a","response":"b"})");
  EXPECT_ERROR(tune(resumed(halves)), kFailed, "fingerprint");
}

// Two micro-batches with unlike numbers of scored tokens weigh as one batch does.
TEST_F(Finetune, LossIsTheMeanOverTheScoredTokensOfAStep) {
  TrainSettings whole = examples("whole"), parts = examples("parts");
  parts.batch = 1;
  parts.grad_accum = 2;
  tune(whole);
  tune(parts);
  const auto a = metrics(whole), b = metrics(parts);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(a[i]["loss"].get<double>(), b[i]["loss"].get<double>(), 1e-5);
    EXPECT_NEAR(a[i]["grad_norm"].get<double>(), b[i]["grad_norm"].get<double>(), 1e-4);
  }
}

// A start that was killed before its run.toml stood may have kept the tokenizer of another model.
TEST_F(Finetune, AStartAnewTakesItsOwnTokenizer) {
  nlohmann::json model = test::tiny_model_json();
  model["vocab_size"] = test::kTinyVocab + 1;
  write_model(model);
  ResidentWeights<float> weights(read_config(at("model.json")));
  initialize(weights.values(), weights.list(), 1);
  fs::create_directories(at("larger"));
  save_model(at("larger"), weights.config(), weights.list(), static_cast<const float*>(weights.values()),
             DType::kF32);
  const ExampleInput first{Tokenizer(std::vector<std::string>{}), nullptr};
  const ExampleInput second{Tokenizer(std::vector<std::string>{"ab"}), nullptr};
  fs::create_directories(at("expected"));
  second.tokenizer.save(at("expected"));
  TrainSettings s = examples("run");
  s.from = at("larger").string();
  NoProgress progress;
  train(s, progress, nullptr, &first);
  ASSERT_NE(bytes_of(at("run/tokenizer/tokenizer.json")), bytes_of(at("expected/tokenizer.json")));
  std::vector<fs::path> later;
  for (const auto& entry : fs::directory_iterator(at("run"))) {
    if (entry.path().filename() != "tokenizer") later.push_back(entry.path());
  }
  for (const fs::path& path : later) fs::remove_all(path);
  train(s, progress, nullptr, &second);
  EXPECT_EQ(bytes_of(at("run/tokenizer/tokenizer.json")), bytes_of(at("expected/tokenizer.json")));
  EXPECT_EQ(bytes_of(resolve_model(s.out) / "tokenizer.json"), bytes_of(at("expected/tokenizer.json")));
}

TEST_F(Finetune, SaysWhatDoesNotFit) {
  const auto with = [&](auto change) {
    TrainSettings s = examples("refused");
    change(s);
    tune(s);
  };
  EXPECT_ERROR(with([&](auto& s) { s.data = at("data").string(); }), kUsage, "is a folder", "train --from");
  EXPECT_ERROR(with([&](auto& s) { s.from = at("nothing").string(); }), kFailed, "no such file or folder");
  EXPECT_ERROR(with([&](auto& s) { s.seq = 4096; }), kUsage, "--seq 4096 does not fit");
  write_text_file(at("bad.jsonl"), "{\"prompt\": \"a\", \"response\": \"\"}\n");
  EXPECT_ERROR(with([&](auto& s) { s.data = at("bad.jsonl").string(); }), kFailed, "bad.jsonl", "empty");
  TrainSettings shards = examples("refused");
  EXPECT_ERROR(run(shards), kUsage, "is a file", "fathom finetune");
  nlohmann::json small = test::tiny_model_json();
  small["vocab_size"] = 100;
  write_model(small);
  ResidentWeights<float> weights(read_config(at("model.json")));
  initialize(weights.values(), weights.list(), 1);
  fs::create_directories(at("small"));
  save_model(at("small"), weights.config(), weights.list(), static_cast<const float*>(weights.values()),
             DType::kF32);
  EXPECT_ERROR(with([&](auto& s) { s.from = at("small").string(); }), kFailed,
               "has 259 entries, the model's 100");
  EXPECT_FALSE(fs::exists(at("refused")));
}

}  // namespace
}  // namespace fathom
