#include "probe/diagnosis.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "io/checkpoint.h"
#include "probe/diagnosis_forecast.h"
#include "probe/golden.h"
#include "probe/growth.h"
#include "probe/usefulness.h"
#include "support/expect_error.h"
#include "support/golden_folders.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using nlohmann::json;

DiagnosisOptions all_metrics() {
  DiagnosisOptions options;
  options.metrics = parse_metrics(diagnosis_metrics());
  options.permutation_tokens = 1 << 20;
  return options;
}

void expect_close(const json& got, const json& expected, const std::string& where) {
  if (expected.is_array()) {
    ASSERT_EQ(got.size(), expected.size()) << where;
    for (size_t i = 0; i < expected.size(); ++i)
      expect_close(got[i], expected[i], where + "[" + std::to_string(i) + "]");
    return;
  }
  ASSERT_TRUE(got.is_number()) << where;
  EXPECT_NEAR(got.get<double>(), expected.get<double>(),
              1e-4 * std::max(1.0, std::abs(expected.get<double>())))
      << where;
}

json column(const json& diagnosis, const char* key, bool with_embedding) {
  json values = json::array();
  if (with_embedding) values.push_back(diagnosis["embedding"][key]);
  for (const json& layer : diagnosis["per_layer"]) values.push_back(layer[key]);
  return values;
}

class DiagnosisOf : public testing::TestWithParam<std::string> {};

// Every key of a golden that the diagnosis has a key for.
TEST_P(DiagnosisOf, AgreesWithTheGolden) {
  const auto folder = own_goldens() / GetParam();
  const Golden golden = read_golden(folder);
  ResidentWeights<float> weights(read_config(folder));
  load_weights(weights, folder);
  Transformer<float> model(weights.config(), weights);
  TokenSequences sequences;
  for (size_t b = 0; b < golden.B; ++b) {
    const auto begin = golden.inputs.begin() + static_cast<ptrdiff_t>(b * golden.T);
    sequences.emplace_back(begin, begin + static_cast<ptrdiff_t>(golden.T));
    sequences.back().push_back(golden.targets[(b + 1) * golden.T - 1]);
  }
  NoProgress progress;
  const json d = diagnose(model, sequences, all_metrics(), weights.list(), progress);
  const json& e = golden.expected;
  expect_close(d["loss"], e["loss"], "loss");
  expect_close(column(d, "variance", true), e["hidden_variance"], "variance");
  expect_close(column(d, "rms", true), e["hidden_rms"], "rms");
  expect_close(column(d, "lens_loss", true), e["lens_loss"], "lens_loss");
  expect_close(column(d, "lens_kl", true), e["lens_kl"], "lens_kl");
  expect_close(column(d, "lens_top5", true), e["lens_top5"], "lens_top5");
  for (const char* key :
       {"block_influence", "attn_contribution", "mlp_contribution", "attn_cosine", "mlp_cosine"})
    expect_close(column(d, key, false), e[key], key);
  expect_close(column(d, "loss_without", false), e["loss_without_layer"], "loss_without");
  expect_close(column(d, "angular_distance", false), e["angular_distance_all_tokens"][0], "angular_distance");
  expect_close(d["angular_matrix_all"], e["angular_distance_all_tokens"], "angular_matrix_all");
  expect_close(d["angular_matrix_last"], e["angular_distance_last_token"], "angular_matrix_last");
  expect_close(d["causal_score"], e["causal_score"], "causal_score");
  expect_close(d["permutation_score"], e["permutation_score"], "permutation_score");
  for (size_t l = 0; l < weights.config().num_hidden_layers; ++l) {
    double squares = 0;
    for (const ParamSpec& spec : weights.list()) {
      if (spec.layer != static_cast<int>(l)) continue;
      const double norm = e["grad_norm"][spec.name].get<double>();
      squares += norm * norm;
    }
    expect_close(d["per_layer"][l]["grad_norm"], std::sqrt(squares), "grad_norm");
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, DiagnosisOf, testing::Values("pre", "lns", "post", "peri", "lns-pruned"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TokenSequences random_sequences(size_t count, size_t length, size_t vocab_size) {
  TokenSequences sequences(count);
  Rng rng(9);
  for (auto& sequence : sequences) {
    for (size_t i = 0; i < length; ++i) sequence.push_back(static_cast<int32_t>(rng.below(vocab_size)));
  }
  return sequences;
}

class UsefulnessOf : public testing::Test {
 protected:
  json run(const TokenSequences& text, size_t pass_rows = 0, std::optional<size_t> spare_bytes = {}) {
    DiagnosisOptions options;
    options.metrics = parse_metrics({"usefulness"});
    options.pass_rows = pass_rows;
    options.spare_bytes = spare_bytes;
    NoProgress progress;
    return diagnose(m_.model, text, options, m_.weights.list(), progress);
  }
  test::TinyModel<float> m_{test::tiny_config(NormType::kPre)};
};

// Planted: a layer that is the identity is a linear map exactly; the others are not.
TEST_F(UsefulnessOf, ALinearLayerIsZero) {
  for (const ParamSpec& spec : m_.weights.list()) {
    if (spec.layer == 2 && (spec.role == ParamRole::kO || spec.role == ParamRole::kDown))
      std::fill_n(m_.weights.values(spec), spec.size(), 0.0f);
  }
  for (const size_t pass_rows : {0u, 60u}) {
    const json d = run(random_sequences(40, 21, 37), pass_rows);
    ASSERT_EQ(d["per_layer"].size(), 4u);
    EXPECT_NEAR(d["per_layer"][2]["usefulness"].get<double>(), 0.0, 1e-6);
    EXPECT_GT(std::abs(d["per_layer"][1]["usefulness"].get<double>()), 1e-4);
    EXPECT_EQ(d["usefulness_fitted_tokens"], 400);
    EXPECT_EQ(d["usefulness_scored_tokens"], 400);
  }
}

TEST_F(UsefulnessOf, TooFewTokensSaysWhyThereIsNone) {
  const json d = run(random_sequences(4, 21, 37));
  EXPECT_TRUE(d["per_layer"][0]["usefulness"].is_null());
  const std::string reason = d["usefulness_reason"];
  EXPECT_NE(reason.find("40 tokens"), std::string::npos) << reason;
  EXPECT_NE(reason.find("96"), std::string::npos) << reason;  // 4 times the width of 24
}

// One pass takes the sums of one layer at a time, several those of all.
TEST_F(UsefulnessOf, ATextIsNotMeasuredBeyondTheMemoryThatThereIs) {
  const TokenSequences text = random_sequences(40, 21, 37);
  const size_t one = usefulness_bytes<float>(1, 24), all = usefulness_bytes<float>(4, 24);
  EXPECT_EQ(one, (25 * 25 + 25 * 24) * 8u + 25 * 24 * 4u);
  EXPECT_EQ(all, 4 * (25 * 25 + 25 * 24) * 8u + 25 * 24 * 4u);
  for (const auto& [pass_rows, needed] : {std::pair<size_t, size_t>{0, one}, {100, all}}) {
    const json none = run(text, pass_rows, needed - 1);
    EXPECT_TRUE(none["per_layer"][3]["usefulness"].is_null());
    const std::string reason = none["usefulness_reason"];
    EXPECT_NE(reason.find("more than the memory leaves"), std::string::npos) << reason;
    const json there = run(text, pass_rows, needed);
    EXPECT_TRUE(there["per_layer"][3]["usefulness"].is_number());
    EXPECT_FALSE(there.contains("usefulness_reason"));
  }
}

// The forecast knows what is held beside the streams, and what finds no room is left out with a reason.
TEST(Diagnosis, LeavesOutWhatFindsNoRoom) {
  test::TinyModel<float> m(test::tiny_config(NormType::kPre));
  DiagnosisOptions options;
  options.metrics = parse_metrics({"usefulness", "grad_norm"});
  options.pass_rows = 100;
  const DiagnosisMemory memory = diagnosis_memory<float>(options, m.model.config(), 20);
  EXPECT_EQ(memory.usefulness, usefulness_bytes<float>(1, 24));
  EXPECT_EQ(memory.usefulness_in_passes, usefulness_bytes<float>(4, 24));
  EXPECT_GT(memory.gradients_in_passes, 0u);
  NoProgress progress;
  const TokenSequences text = random_sequences(40, 21, 37);
  const auto diagnosis = [&](size_t spare) {
    options.spare_bytes = spare;
    return diagnose(m.model, text, options, m.weights.list(), progress);
  };
  const json none = diagnosis(0);
  EXPECT_TRUE(none["per_layer"][0]["grad_norm"].is_null());
  EXPECT_TRUE(none["per_layer"][0]["usefulness"].is_null());
  EXPECT_NE(none["grad_norm_reason"].get<std::string>().find("more --memory"), std::string::npos);
  EXPECT_TRUE(none.contains("usefulness_reason"));
  const json all = diagnosis(std::max(memory.usefulness_in_passes, memory.gradients_in_passes));
  EXPECT_TRUE(all["per_layer"][0]["grad_norm"].is_number());
  EXPECT_TRUE(all["per_layer"][0]["usefulness"].is_number());
}

TEST(Growth, FindsThePlantedLaw) {
  std::vector<double> linear, power, exponential;
  for (int l = 1; l <= 24; ++l) {
    const double noise = 1 + 0.01 * std::sin(7.0 * l);
    linear.push_back((3 + 0.5 * l) * noise);
    power.push_back(2 * std::pow(l, 1.7) * noise);
    exponential.push_back(0.5 * std::exp(0.2 * l) * noise);
  }
  EXPECT_EQ(fit_growth(linear)->law, "linear");
  EXPECT_EQ(fit_growth(power)->law, "power");
  EXPECT_NEAR(fit_growth(power)->exponent, 1.7, 0.02);
  EXPECT_EQ(fit_growth(exponential)->law, "exponential");
  EXPECT_NEAR(fit_growth(exponential)->rate, 0.2, 0.002);
  EXPECT_FALSE(fit_growth(std::vector<double>{1, 2, 3, 4, 5}).has_value());
  EXPECT_FALSE(fit_growth(std::vector<double>{1, 2, 3, 0, 5, 6}).has_value());
}

TEST(Growth, IsNotBelievedWhereOneLayerDoesItAll) {
  // SmolLM2's: slow growth, one jump, slow growth.
  std::vector<double> jump, smooth;
  for (int l = 1; l <= 30; ++l) {
    jump.push_back((l < 12 ? 4.0 : 2000.0) + l);
    smooth.push_back(std::pow(l, 2.0));
  }
  const auto fit = fit_growth(jump);
  EXPECT_TRUE(fit->dominated_by_jump());
  EXPECT_EQ(fit->jump_layer, 12u);
  EXPECT_NEAR(fit->jump_factor, 2012.0 / 15.0, 1e-9);
  EXPECT_FALSE(fit_growth(smooth)->dominated_by_jump());
  EXPECT_FALSE(fit_growth(std::vector<double>{1, 2, 3, 4, 5, 6})->dominated_by_jump());
}

// The mean over tokens with and without the first, computed here from the streams.
TEST(Diagnosis, VarianceAndRmsAreGivenWithoutTheFirstTokenAndOfEachStep) {
  test::TinyModel<double> m(test::tiny_config(NormType::kSandwich));
  const TokenSequences sequences = random_sequences(3, 8, 37);
  const size_t T = 7, C = 24;
  DiagnosisOptions options;
  options.metrics = parse_metrics({"variance", "rms", "variance_without_first", "rms_without_first",
                                   "attn_variance", "mlp_variance", "attn_rms", "mlp_rms"});
  NoProgress progress;
  const json d = diagnose(m.model, sequences, options, m.weights.list(), progress);
  std::vector<int32_t> tokens;
  for (const auto& s : sequences) tokens.insert(tokens.end(), s.begin(), s.end() - 1);
  const Batch batch{3, T, tokens.data(), nullptr, nullptr};
  std::vector<double> x(3 * T * C);
  const auto square_mean = [&](const auto& element, bool centred, size_t first) {
    double sum = 0, n = 0, root_sum = 0;
    for (size_t r = 0; r < 3 * T; ++r) {
      if (r % T < first) continue;
      double mean = 0, squares = 0;
      for (size_t c = 0; c < C; ++c) mean += element(r * C + c) / C;
      for (size_t c = 0; c < C; ++c) squares += std::pow(element(r * C + c) - (centred ? mean : 0), 2) / C;
      sum += squares;
      root_sum += std::sqrt(squares);
      n += 1;
    }
    return centred ? sum / n : root_sum / n;
  };
  const auto watch = [&](const Tap<double>& tap) {
    const auto value = [&](size_t i) { return tap.after[i]; };
    const auto change = [&](size_t i) { return tap.after[i] - tap.before[i]; };
    const json& entry = tap.point == TapPoint::kEmbedding ? d["embedding"] : d["per_layer"][tap.layer];
    if (tap.point != TapPoint::kAttention) {
      EXPECT_NEAR(entry["variance"].get<double>(), square_mean(value, true, 0), 1e-9);
      EXPECT_NEAR(entry["variance_without_first"].get<double>(), square_mean(value, true, 1), 1e-9);
      EXPECT_NEAR(entry["rms"].get<double>(), square_mean(value, false, 0), 1e-9);
      EXPECT_NEAR(entry["rms_without_first"].get<double>(), square_mean(value, false, 1), 1e-9);
    }
    if (tap.point == TapPoint::kEmbedding) return;
    const bool attn = tap.point == TapPoint::kAttention;
    EXPECT_NEAR(entry[attn ? "attn_variance" : "mlp_variance"].get<double>(), square_mean(change, true, 0),
                1e-9);
    EXPECT_NEAR(entry[attn ? "attn_rms" : "mlp_rms"].get<double>(), square_mean(change, false, 0), 1e-9);
    EXPECT_TRUE(entry["mlp_rms_stderr"].is_number());
  };
  m.model.embed(x.data(), batch, watch);
  m.model.run(x.data(), whole_program<double>(4), batch, watch);
}

// Counted by hand for a model of two layers.
TEST(Diagnosis, CostIsForecastPartByPart) {
  ModelConfig c = test::tiny_config(NormType::kPre, 2);
  DiagnosisOptions options;
  options.metrics = parse_metrics({"lens_kl", "effective_depth", "permutation_score"});
  options.permutation_tokens = 10;
  const double block = 2 * (24 * 64 + 24 * 32 + 3 * 24 * 20) + 2 * 5 * 32, head = 2 * 24 * 37;
  const DiagnosisCost cost = diagnosis_cost(options, c, 100, 5);
  EXPECT_DOUBLE_EQ(cost.pass, 100 * (2 * block + head));
  EXPECT_DOUBLE_EQ(cost.lens, 100 * 3 * head);
  EXPECT_DOUBLE_EQ(cost.removal, 100 * (block + 2 * head));
  EXPECT_DOUBLE_EQ(cost.permutation, 10 * (2 * block + head));
  EXPECT_EQ(cost.gradients, 0);
  // What is measured on some tokens takes whole sequences of 5, and at most the text.
  const auto expect_tokens = [&](uint64_t asked, double permuted, double lens) {
    options.permutation_tokens = options.lens_tokens = asked;
    const DiagnosisCost of_some = diagnosis_cost(options, c, 100, 5);
    EXPECT_DOUBLE_EQ(of_some.permutation, permuted * (2 * block + head)) << asked;
    EXPECT_DOUBLE_EQ(of_some.lens, lens * 3 * head) << asked;
  };
  expect_tokens(1, 5, 5);
  expect_tokens(7, 5, 10);
  expect_tokens(8, 10, 10);
  expect_tokens(0, 100, 100);
  expect_tokens(1000, 100, 100);
  EXPECT_GT(measured_flops<float>(c), 1e6);
}

TEST(Diagnosis, MetricsAreChosenByName) {
  using Names = std::set<std::string>;
  EXPECT_EQ(
      parse_metrics({"usefulness_share", "delta_loss", "effective_depth_ratio", "loss_without", "loss"}),
      (Names{"usefulness", "effective_depth"}));
  EXPECT_EQ(parse_metrics({"rms_stderr", "perplexity_stderr"}), Names{"rms"});
  EXPECT_ERROR(parse_metrics({"varianc"}), ErrorCode::kUsage, "'varianc'", "did you mean 'variance'");
  test::TinyModel<float> m(test::tiny_config(NormType::kPre));
  DiagnosisOptions options;
  options.metrics = parse_metrics({"variance"});
  NoProgress progress;
  const json d = diagnose(m.model, random_sequences(2, 9, 37), options, m.weights.list(), progress);
  EXPECT_TRUE(d["per_layer"][0].contains("variance"));
  EXPECT_FALSE(d["per_layer"][0].contains("rms"));
  EXPECT_FALSE(d.contains("causal_score"));
  EXPECT_EQ(diagnosis_cost(options, m.model.config(), 16, 8).passes(), 1.0);
}

TEST(Diagnosis, SummaryNamesTheLayers) {
  json d;
  for (int l = 1; l <= 5; ++l) {
    d["per_layer"].push_back({{"layer", l},
                              {"variance", static_cast<double>(l)},
                              {"angular_distance", l >= 3 && l <= 4 ? 0.01 : 0.2},
                              {"delta_loss", l == 1 ? 2.0 : 0.001 * l}});
  }
  d["effective_depth"] = 1.0;
  std::string all;
  for (const std::string& sentence : diagnosis_summary(d)) all += sentence + "\n";
  EXPECT_NE(all.find("from 1 after layer 1 to 5 after layer 5 (5 times)"), std::string::npos) << all;
  EXPECT_NE(all.find("Layers 3-4 turn the stream by less than 5 degrees each"), std::string::npos) << all;
  EXPECT_NE(all.find("cheapest layer to remove is 2 (+0.0020 nats), the dearest 1 (+2.0000 nats)"),
            std::string::npos)
      << all;
  EXPECT_NE(all.find("4 of 5 layers cost less than 0.01 nats each by itself, 1% of perplexity: 2-5"),
            std::string::npos)
      << all;
  EXPECT_NE(all.find("the least of 5 noisy costs"), std::string::npos) << all;
  d["variance_growth"] = {{"law", "power"}, {"exponent", -0.3}};
  EXPECT_NE(diagnosis_summary(d)[0].find("it falls as depth to the power -0.30"), std::string::npos);
  d["variance_growth"] = {{"law", "exponential"}, {"rate", std::log(0.9)}};
  EXPECT_NE(diagnosis_summary(d)[0].find("it falls by 10.0% a layer"), std::string::npos);
  d["variance_growth"] = {{"law", "linear"}, {"slope", 0.5}};
  EXPECT_NE(diagnosis_summary(d)[0].find("it grows by 0.5 a layer"), std::string::npos);
  d["grad_norm_reason"] = "the text takes 3 passes";
  d["per_layer"][2]["delta_loss"] = nullptr;
  all.clear();
  for (const std::string& sentence : diagnosis_summary(d)) all += sentence + "\n";
  EXPECT_NE(all.find("gradients' norms were not measured: the text takes 3 passes"), std::string::npos)
      << all;
  EXPECT_NE(all.find("removing layers costs was not measured: the loss is not finite"), std::string::npos)
      << all;
  EXPECT_EQ(all.find("cheapest"), std::string::npos) << all;
  d["variance_growth"] = {{"law", "power"},
                          {"exponent", 2.0},
                          {"dominated_by_jump", true},
                          {"jump", {{"layer", 4}, {"factor", 60.0}, {"share", 0.75}}}};
  const std::string first = diagnosis_summary(d)[0];
  EXPECT_NE(first.find("layer 4 alone multiplies it by 60, 75% of all the change"), std::string::npos)
      << first;
  EXPECT_EQ(first.find("power"), std::string::npos) << first;
}

}  // namespace
}  // namespace fathom
