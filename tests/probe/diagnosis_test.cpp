#include "probe/diagnosis.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "io/checkpoint.h"
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
  Gradients<float> gradients(weights.config(), weights.list());
  TokenSequences sequences;
  for (size_t b = 0; b < golden.B; ++b) {
    const auto begin = golden.inputs.begin() + static_cast<ptrdiff_t>(b * golden.T);
    sequences.emplace_back(begin, begin + static_cast<ptrdiff_t>(golden.T));
    sequences.back().push_back(golden.targets[(b + 1) * golden.T - 1]);
  }
  NoProgress progress;
  const json d = diagnose(model, sequences, all_metrics(), &gradients, weights.list(), progress);
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

// Planted: a layer that is the identity is a linear map exactly; the others are not.
TEST(Usefulness, IsZeroForALinearLayer) {
  test::TinyModel<float> m(test::tiny_config(NormType::kPre));
  for (const ParamSpec& spec : m.weights.list()) {
    if (spec.layer == 2 && (spec.role == ParamRole::kO || spec.role == ParamRole::kDown))
      std::fill_n(m.weights.values(spec), spec.size(), 0.0f);
  }
  NoProgress progress;
  const Usefulness u = measure_usefulness(m.model, random_sequences(40, 21, 37), 7, progress);
  ASSERT_EQ(u.value.size(), 4u);
  EXPECT_NEAR(u.value[2], 0.0, 1e-6);
  EXPECT_GT(std::abs(u.value[1]), 1e-4);
  EXPECT_EQ(u.fitted_tokens, 400u);
  EXPECT_EQ(u.scored_tokens, 400u);
}

TEST(Usefulness, SaysWhyThereIsNone) {
  test::TinyModel<float> m(test::tiny_config(NormType::kPre));
  NoProgress progress;
  const Usefulness u = measure_usefulness(m.model, random_sequences(4, 21, 37), 7, progress);
  EXPECT_TRUE(u.value.empty());
  EXPECT_NE(u.reason.find("40 tokens"), std::string::npos) << u.reason;
  EXPECT_NE(u.reason.find("96"), std::string::npos) << u.reason;  // 4 times the width of 24
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

TEST(Diagnosis, MetricsAreChosenByName) {
  EXPECT_ERROR(parse_metrics({"varianc"}), ErrorCode::kUsage, "'varianc'", "did you mean 'variance'");
  test::TinyModel<float> m(test::tiny_config(NormType::kPre));
  DiagnosisOptions options;
  options.metrics = parse_metrics({"variance"});
  NoProgress progress;
  const json d = diagnose(m.model, random_sequences(2, 9, 37), options, nullptr, m.weights.list(), progress);
  EXPECT_TRUE(d["per_layer"][0].contains("variance"));
  EXPECT_FALSE(d["per_layer"][0].contains("rms"));
  EXPECT_FALSE(d.contains("causal_score"));
  EXPECT_EQ(diagnosis_passes(options, 4, 16), 1.0);
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
  EXPECT_NE(all.find("less than 0.01 nats: 2-5"), std::string::npos) << all;
}

}  // namespace
}  // namespace fathom
