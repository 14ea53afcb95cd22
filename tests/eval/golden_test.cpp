// Requests, log-likelihoods and scores held to those of an independent program (make_golden_eval.py): texts
// rendered in Python, ids of Hugging Face `tokenizers`, a float64 model that runs one request at a time.
// Proof kit (g), trap 16.

#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "eval/evaluate.h"
#include "eval/perplexity.h"
#include "io/checkpoint.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

const std::filesystem::path kData = std::filesystem::path(FATHOM_TEST_DATA) / "eval" / "data";

template <class W>
struct GoldenCase {
  explicit GoldenCase(const std::string& name)
      : config(read_config(kData / name)),
        tokenizer(Tokenizer::load(kData / name)),
        weights(config),
        model(config, weights),
        expected(read_json(kData / name / "expected.json")) {
    load_weights(weights, kData / name);
  }
  PreparedTask prepare(const std::string& task, size_t shots = 0) const {
    return prepare_task(kData, find_task(task), {.split = {}, .limit = 0, .num_fewshot = shots}, tokenizer,
                        config.max_position_embeddings);
  }
  std::vector<std::vector<double>> score(const PreparedTask& task) {
    std::vector<std::vector<double>> values;
    NoProgress progress;
    score_task<W>(model, whole_program<Stream<W>>(config.num_hidden_layers), task, 300, values, progress);
    return values;
  }

  ModelConfig config;
  Tokenizer tokenizer;
  ResidentWeights<W> weights;
  Transformer<W> model;
  nlohmann::json expected;
};

class EvalGolden : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Cases, EvalGolden, ::testing::Values("bpe-lns", "sentencepiece-pre"),
                         [](const auto& info) { return std::string(info.param).substr(0, 3); });

void expect_requests(const PreparedTask& task, const nlohmann::json& expected, const std::string& name) {
  ASSERT_EQ(task.items.size(), expected["items"].size()) << name;
  for (size_t i = 0; i < task.items.size(); ++i) {
    const nlohmann::json& requests = expected["items"][i];
    ASSERT_EQ(task.items[i].requests.size(), requests.size());
    for (size_t c = 0; c < requests.size(); ++c) {
      EXPECT_EQ(task.items[i].requests[c].ids, requests[c]["ids"].get<std::vector<int32_t>>())
          << name << " item " << i << " choice " << c << ": " << requests[c]["context"]
          << requests[c]["continuation"];
      EXPECT_EQ(task.items[i].requests[c].scored, requests[c]["scored"].get<size_t>())
          << name << " item " << i;
    }
  }
}

template <class W>
void expect_scores(GoldenCase<W>& golden, const PreparedTask& task, const nlohmann::json& expected,
                   double tolerance) {
  const auto values = golden.score(task);
  for (size_t i = 0; i < values.size(); ++i) {
    for (size_t c = 0; c < values[i].size(); ++c)
      EXPECT_NEAR(values[i][c], expected["items"][i][c]["log_likelihood"].get<double>(), tolerance);
  }
  const TaskResult result = summarize(task, values);
  EXPECT_EQ(result.acc.value, expected["acc"].get<double>());
  if (result.acc_norm) {
    EXPECT_EQ(result.acc_norm->value, expected["acc_norm"].get<double>());
  }
  if (!expected["acc_stderr"].is_null()) {
    EXPECT_NEAR(*result.acc.standard_error, expected["acc_stderr"].get<double>(), 1e-12);
  }
}

TEST_P(EvalGolden, RequestsAndScoresAreThoseOfAnIndependentProgram) {
  GoldenCase<double> golden(GetParam());
  GoldenCase<float> fast(GetParam());
  size_t truncated = 0;
  for (const auto& [name, expected] : golden.expected["zero_shot"].items()) {
    const PreparedTask task = golden.prepare(name);
    expect_requests(task, expected, name);
    expect_scores(golden, task, expected, 1e-8);
    expect_scores(fast, task, expected, 1e-3);
    truncated += task.truncated;
  }
  EXPECT_GT(truncated, 0u);  // the long passage
}

TEST_P(EvalGolden, ExamplesInFrontAreThoseOfTheHarness) {
  GoldenCase<double> golden(GetParam());
  for (const auto& [name, expected] : golden.expected["two_shot"].items()) {
    const PreparedTask task = golden.prepare(name, 2);
    EXPECT_EQ(task.few_shot_file.filename(), name == "mmlu" ? "mmlu.dev.jsonl" : name + ".train.jsonl");
    expect_requests(task, expected, name);
    expect_scores(golden, task, expected, 1e-8);
  }
}

TEST_P(EvalGolden, PerplexitiesFollowTheirConventions) {
  GoldenCase<float> golden(GetParam());
  const JoinedText text = join_documents(golden.tokenizer, {kData / "text.txt"});
  NoProgress progress;
  for (const char* name : {"hf", "llama.cpp"}) {
    const nlohmann::json& expected = golden.expected["perplexity"][name];
    PerplexitySettings settings;
    settings.convention = parse_convention(name);
    settings.window = settings.convention == PerplexitySettings::Convention::kLlamaCpp ? 32 : 24;
    settings.stride = settings.convention == PerplexitySettings::Convention::kLlamaCpp ? 0 : 10;
    const PerplexityResult r =
        measure_perplexity<float>(golden.model, golden.tokenizer, text,
                                  resolve(settings, golden.config.max_position_embeddings), 100, progress);
    EXPECT_EQ(r.tokens, expected["tokens"].get<uint64_t>()) << name;
    EXPECT_NEAR(r.loss, expected["loss"].get<double>(), 1e-4) << name;
    if (expected.contains("loss_stderr")) {
      EXPECT_NEAR(r.loss_stderr, expected["loss_stderr"].get<double>(), 1e-4);
    }
    EXPECT_NEAR(r.byte_perplexity(), std::exp2(r.bits_per_byte()), 1e-9);
  }
  EXPECT_EQ(text.words, golden.expected["perplexity"]["words"].get<uint64_t>());
  EXPECT_EQ(text.bytes, golden.expected["perplexity"]["bytes"].get<uint64_t>());
}

TEST(Evaluate, GoesOnWhereAnEarlierRunStopped) {
  GoldenCase<float> golden("bpe-lns");
  const PreparedTask task = golden.prepare("arc_easy");
  const auto whole = golden.score(task);
  for (size_t done = 0; done <= whole.size(); ++done) {
    std::vector<std::vector<double>> values(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(done));
    NoProgress progress;
    score_task<float>(golden.model, whole_program<float>(2), task, 50, values, progress);
    EXPECT_EQ(values, whole);
  }
}

TEST(Evaluate, FingerprintsWhatIsAsked) {
  const GoldenCase<float> golden("bpe-lns");
  const uint64_t zero = fingerprint_of(golden.prepare("arc_easy"));
  EXPECT_EQ(fingerprint_of(golden.prepare("arc_easy")), zero);
  EXPECT_NE(fingerprint_of(golden.prepare("arc_easy", 1)), zero);
  PreparedTask other = golden.prepare("arc_easy");
  other.items[1].gold ^= 1;
  EXPECT_NE(fingerprint_of(other), zero);
}

}  // namespace
}  // namespace fathom
