// A diagnosis gives the same numbers however it is cut up: in parts of a batch, in passes, with its streams
// in a file, with its weights read as they are needed, stopped and taken up again.

#include <atomic>
#include <cmath>
#include <functional>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "io/checkpoint.h"
#include "io/streamed_weights.h"
#include "probe/diagnosis.h"
#include "probe/diagnosis_forecast.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using nlohmann::json;
using test::TempFolder;

// Windows of one length, the last short, as a text gives them.
TokenSequences windows(size_t count, size_t length, size_t last, size_t vocab_size) {
  TokenSequences sequences(count);
  Rng rng(9);
  for (size_t s = 0; s < count; ++s) {
    for (size_t i = 0; i < (s + 1 < count ? length : last); ++i)
      sequences[s].push_back(static_cast<int32_t>(rng.below(vocab_size)));
  }
  return sequences;
}

DiagnosisOptions everything() {
  DiagnosisOptions options;
  options.metrics = parse_metrics(diagnosis_metrics());
  options.permutation_tokens = 50;
  options.probes = 2;
  return options;
}

class DiagnosisParts : public testing::Test {
 protected:
  json run(const DiagnosisOptions& options) {
    test::TinyModel<float> m(test::tiny_config(NormType::kLns));
    NoProgress progress;
    const json result = diagnose(m.model, sequences_, options, m.weights.list(), progress);
    remove_diagnosis_state(options);
    return result;
  }
  TokenSequences sequences_ = windows(24, 21, 12, 37);
};

// The sums of gradients are made in parts: their order, and with it their last digits, is the parts'.
void expect_same(json got, json expected) {
  for (size_t l = 0; l < expected["per_layer"].size(); ++l) {
    const double a = got["per_layer"][l]["grad_norm"], b = expected["per_layer"][l]["grad_norm"];
    EXPECT_NEAR(a, b, 1e-5 * b);
    got["per_layer"][l].erase("grad_norm");
    expected["per_layer"][l].erase("grad_norm");
  }
  EXPECT_EQ(got, expected);
}

TEST_F(DiagnosisParts, DoNotDependOnTheSequencesAtATimeOrThePasses) {
  const json whole = run(everything());
  ASSERT_TRUE(whole["per_layer"][0]["usefulness"].is_number());
  for (const size_t batch : {1u, 3u, 24u}) {
    DiagnosisOptions options = everything();
    options.batch_size = batch;
    expect_same(run(options), whole);
  }
  for (const size_t rows : {25u, 90u, 480u}) {
    DiagnosisOptions options = everything();
    options.pass_rows = rows;
    json parts = run(options);
    // Maps are fitted on sums in double over blocks of rows that passes cut elsewhere.
    for (size_t l = 0; l < parts["per_layer"].size(); ++l) {
      for (const char* key : {"usefulness", "usefulness_stderr"}) {
        EXPECT_NEAR(parts["per_layer"][l][key].get<double>(), whole["per_layer"][l][key].get<double>(), 1e-6);
        parts["per_layer"][l][key] = whole["per_layer"][l][key];
      }
    }
    expect_same(parts, whole);
  }
}

TEST_F(DiagnosisParts, SpilledToAFileAreTheSame) {
  const TempFolder folder;
  DiagnosisOptions options = everything();
  const json whole = run(options);
  options.spill = folder.path();
  EXPECT_EQ(run(options), whole);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  options.spill = folder / "none";
  EXPECT_ERROR(run(options), ErrorCode::kFailed, "none", "folder that exists");
}

TEST_F(DiagnosisParts, OfAStreamedModelAreTheSame) {
  const TempFolder folder;
  const ModelConfig config = test::tiny_config(NormType::kLns);
  test::TinyModel<float> m(config);
  save_model(folder.path(), config, m.weights.list(), m.weights.values(), DType::kF32);
  StreamedWeights<float> weights(folder.path(), config, 0);
  Transformer<float> model(config, weights);
  NoProgress progress;
  EXPECT_EQ(diagnose(model, sequences_, everything(), weights.list(), progress), run(everything()));
}

// A planted identity layer, in a model that is read layer by layer.
TEST_F(DiagnosisParts, PlantedLayersGivePlantedAnswersInAStreamedModel) {
  const TempFolder folder;
  const ModelConfig config = test::tiny_config(NormType::kPre);
  test::TinyModel<float> m(config);
  for (const ParamSpec& spec : m.weights.list()) {
    if (spec.layer == 2 && (spec.role == ParamRole::kO || spec.role == ParamRole::kDown))
      std::fill_n(m.weights.values(spec), spec.size(), 0.0f);
  }
  save_model(folder.path(), config, m.weights.list(), m.weights.values(), DType::kF32);
  StreamedWeights<float> weights(folder.path(), config, 0);
  Transformer<float> model(config, weights);
  NoProgress progress;
  const json d = diagnose(model, sequences_, everything(), weights.list(), progress);
  const json &planted = d["per_layer"][2], &other = d["per_layer"][1];
  for (const char* key : {"angular_distance", "block_influence", "attn_contribution", "mlp_variance",
                          "identity_deviation", "delta_loss"}) {
    EXPECT_EQ(planted[key].get<double>(), 0.0) << key;
    EXPECT_NE(other[key].get<double>(), 0.0) << key;
  }
  EXPECT_NEAR(planted["usefulness"].get<double>(), 0.0, 1e-6);
  EXPECT_EQ(d["causal_score"][2][3].get<double>(), 0.0);
}

// Asks to stop at a given report of progress.
class StopAt final : public Progress {
 public:
  explicit StopAt(size_t when) : when_(when) {}
  void begin(const std::string&, uint64_t, const std::string&) override {}
  void update(uint64_t, const std::string&) override { stop = ++seen_ >= when_; }
  void end(const std::string&) override {}
  std::atomic<bool> stop{false};
  size_t seen() const { return seen_; }

 private:
  size_t when_, seen_ = 0;
};

TEST_F(DiagnosisParts, StoppedAndTakenUpAgainAreOneGo) {
  for (const size_t pass_rows : {0u, 200u}) {
    DiagnosisOptions options = everything();
    options.pass_rows = pass_rows;
    const json whole = run(options);
    for (const size_t every : {9u, 14u, 23u}) {
      const TempFolder folder;
      options.state = folder / "probe.state";
      options.model_identity = "tiny";
      size_t runs = 0;
      json result;
      while (result.is_null()) {
        ASSERT_LT(++runs, 100u);
        // Each time a little further, so that it ends even where nothing could be kept.
        StopAt progress(every + runs);
        options.stop = &progress.stop;
        test::TinyModel<float> m(test::tiny_config(NormType::kLns));
        try {
          result = diagnose(m.model, sequences_, options, m.weights.list(), progress);
        } catch (const Error& e) {
          EXPECT_NE(std::string(e.what()).find("stopped by a signal"), std::string::npos) << e.what();
        }
      }
      EXPECT_GT(runs, 1u);
      EXPECT_TRUE(result.value("resumed", false));
      result.erase("resumed");
      EXPECT_EQ(result, whole) << "stopped at every " << every;
      EXPECT_TRUE(std::filesystem::exists(options.state)) << "until the result is written";
      options.stop = nullptr;
      options.state.clear();
    }
  }
}

// Of the usefulness each layer is kept, as long as what it is made of can be made again.
TEST_F(DiagnosisParts, LayersWhoseUsefulnessIsKnownAreNotMeasuredAgain) {
  const size_t L = 4, per_pass = L + 1;  // reports of a forward pass: each layer, and its end
  for (const size_t pass_rows : {0u, 200u}) {
    const TempFolder folder;
    DiagnosisOptions options;
    options.metrics = parse_metrics({"usefulness"});
    options.pass_rows = pass_rows;
    const json whole = run(options);
    ASSERT_TRUE(whole["per_layer"][0]["usefulness"].is_number());
    const size_t passes = pass_rows == 0 ? 1 : 3, before = (passes - 1) * (per_pass + L);
    options.state = folder / "probe.state";
    const auto reports_of = [&](size_t stop_at, json* result) {
      StopAt progress(stop_at);
      options.stop = &progress.stop;
      test::TinyModel<float> m(test::tiny_config(NormType::kLns));
      if (result == nullptr) {
        EXPECT_ERROR(diagnose(m.model, sequences_, options, m.weights.list(), progress), ErrorCode::kFailed,
                     "what was done is in", pass_rows == 0 ? "streams of this pass" : "the linear maps");
      } else {
        *result = diagnose(m.model, sequences_, options, m.weights.list(), progress);
      }
      return progress.seen();
    };
    EXPECT_EQ(reports_of(before + per_pass + 1, nullptr),
              before + per_pass + 1);  // one layer of the last pass
    // Each time it says where it starts, makes the streams, and goes on with the next layer.
    EXPECT_EQ(reports_of(1 + per_pass + 2, nullptr), 1 + per_pass + 2);
    json result;
    EXPECT_EQ(reports_of(1000, &result), 1 + per_pass + 1);
    result.erase("resumed");
    EXPECT_EQ(result, whole);
  }
}

// A pass that went by without it can't be made up for, however much memory there is later.
TEST_F(DiagnosisParts, TheUsefulnessStaysLeftOutWhereItFoundNoRoom) {
  const TempFolder folder;
  DiagnosisOptions options;
  options.metrics = parse_metrics({"usefulness", "variance"});
  options.pass_rows = 200;
  options.state = folder / "probe.state";
  options.spare_bytes = 0;
  StopAt progress(10);  // after the second forward pass
  options.stop = &progress.stop;
  test::TinyModel<float> m(test::tiny_config(NormType::kLns));
  EXPECT_ERROR(diagnose(m.model, sequences_, options, m.weights.list(), progress), ErrorCode::kFailed,
               "probe.state");
  options.stop = nullptr;
  options.spare_bytes.reset();
  const json result = run(options);
  EXPECT_TRUE(result["per_layer"][0]["usefulness"].is_null());
  EXPECT_TRUE(result.contains("usefulness_reason"));
  EXPECT_TRUE(result["resumed"].get<bool>());
}

// The memory that is there decides how a text is cut; it is another when the diagnosis goes on.
TEST_F(DiagnosisParts, TheCutsOfTheTextAreThoseItWasBegunWith) {
  const TempFolder folder;
  DiagnosisOptions options = everything();
  options.state = folder / "probe.state";
  options.pass_rows = 200;
  const json whole = run(options);
  EXPECT_FALSE(kept_pass_rows<float>(sequences_, options).has_value());
  StopAt progress(30);
  options.stop = &progress.stop;
  test::TinyModel<float> m(test::tiny_config(NormType::kLns));
  EXPECT_ERROR(diagnose(m.model, sequences_, options, m.weights.list(), progress), ErrorCode::kFailed,
               "made from the beginning: ", "the gradients, the linear maps");
  options.stop = nullptr;
  options.pass_rows = 0;
  EXPECT_EQ(kept_pass_rows<float>(sequences_, options), 200u);
  json result = run(options);
  EXPECT_TRUE(result.value("resumed", false));
  result.erase("resumed");
  EXPECT_EQ(result, whole);
}

// A bar that starts at what was done has a rate and a time left that are right.
TEST_F(DiagnosisParts, TheProgressOfOneThatGoesOnStartsWhereItStopped) {
  class Watch final : public Progress {
   public:
    void begin(const std::string& label, uint64_t total, const std::string&) override {
      if (label == "probe") total_ = total;
    }
    void update(uint64_t done, const std::string&) override {
      if (!first) first = done;
      largest = std::max(largest, done);
      stop = stop || (stop_at > 0 && done >= stop_at);
    }
    void end(const std::string&) override {}
    uint64_t total_ = 0, largest = 0, stop_at = 0;
    std::optional<uint64_t> first;
    std::atomic<bool> stop{false};
  };
  const TempFolder folder;
  DiagnosisOptions options = everything();
  options.metrics = parse_metrics({"effective_depth", "identity_deviation", "lens_loss"});
  options.probes = 300;  // so that it comes to some units of progress
  options.state = folder / "probe.state";
  options.pass_rows = 100;
  test::TinyModel<float> m(test::tiny_config(NormType::kLns));
  Watch first, second;
  first.stop_at = 1;
  options.stop = &first.stop;
  EXPECT_THROW(diagnose(m.model, sequences_, options, m.weights.list(), first), Error);
  options.stop = &second.stop;
  diagnose(m.model, sequences_, options, m.weights.list(), second);
  ASSERT_GT(second.total_, 1u);
  EXPECT_GE(*second.first, 1u);
  EXPECT_LE(*second.first, first.largest);
  EXPECT_LE(second.largest, second.total_ + 1);
}

TEST_F(DiagnosisParts, AStateOfAnotherDiagnosisIsNotTakenUp) {
  const TempFolder folder;
  DiagnosisOptions options = everything();
  options.state = folder / "probe.state";
  const auto stop_late = [&] {
    StopAt progress(23);  // within the last stage, which keeps each layer
    options.stop = &progress.stop;
    test::TinyModel<float> m(test::tiny_config(NormType::kLns));
    EXPECT_ERROR(diagnose(m.model, sequences_, options, m.weights.list(), progress), ErrorCode::kFailed,
                 "probe.state", "go on with the same command");
    options.stop = nullptr;
    ASSERT_TRUE(std::filesystem::exists(options.state));
  };
  stop_late();
  DiagnosisOptions other = options;
  other.seed = 2;
  EXPECT_FALSE(run(other).contains("resumed"));
  stop_late();
  write_text_file(options.state, "no state");
  EXPECT_FALSE(run(options).contains("resumed"));
  stop_late();
  EXPECT_TRUE(run(options).contains("resumed"));
}

TEST_F(DiagnosisParts, ThePermutationScoreTakesTheNearestNumberOfSequences) {
  DiagnosisOptions options;
  options.metrics = parse_metrics({"permutation_score"});
  for (const auto& [asked, taken] : {std::pair{1, 20}, {45, 40}, {50, 60}, {55, 60}}) {
    options.permutation_tokens = static_cast<uint64_t>(asked);
    EXPECT_EQ(run(options)["permutation_tokens"], taken) << asked;
    EXPECT_EQ(permuted_tokens(options, 20), static_cast<uint64_t>(taken)) << "the forecast";
  }
}

TEST_F(DiagnosisParts, TheLensTakesAsManyTokensAsItIsGiven) {
  DiagnosisOptions options;
  options.metrics = parse_metrics({"lens_loss", "variance"});
  options.lens_tokens = 45;
  const json d = run(options);
  EXPECT_EQ(d["lens_tokens"], 60);  // whole sequences of 20
  EXPECT_EQ(lens_tokens(options, 20), 60u);
  TokenSequences first(sequences_.begin(), sequences_.begin() + 3);
  std::swap(first, sequences_);
  options.lens_tokens = 0;
  EXPECT_EQ(run(options)["per_layer"][1]["lens_loss"], d["per_layer"][1]["lens_loss"]);
  EXPECT_EQ(run(options)["lens_tokens"], 60);
}

}  // namespace
}  // namespace fathom
