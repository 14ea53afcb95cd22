#include "report/probe_record.h"

#include <gmock/gmock.h>

#include "report/probe_json.h"
#include "report/run_folder.h"

namespace fathom {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string error_of_read(const json& object) {
  return error_of([&] { read_probe(object, "p.json"); });
}

TEST(ProbeRecord, ReadsWhatProbeWrites) {
  json object = probe_json(3);
  object["per_layer"][1]["original_layer"] = 5;
  object["per_layer"][2]["variance"] = nullptr;
  const ProbeRecord p = read_probe(object, "p.json");
  EXPECT_EQ(p.layers, 3u);
  EXPECT_EQ(p.tokens, 1000u);
  EXPECT_EQ(p.model, "models/tiny");
  const DepthValues* variance = p.find("variance");
  ASSERT_NE(variance, nullptr);
  EXPECT_EQ(variance->value[0], 0.05) << "entry 0 is the embedding";
  EXPECT_EQ(variance->value[2], 0.2);
  EXPECT_TRUE(std::isnan(variance->value[3])) << "null is NaN";
  EXPECT_EQ(variance->error[2], 0.01);
  EXPECT_EQ(variance->missing(), 1u);
  EXPECT_TRUE(std::isnan(p.find("delta_loss")->value[0]));
  EXPECT_EQ(p.original_layers, (std::vector<uint64_t>{1, 5, 3}));
  EXPECT_EQ(p.angular_all[2].size(), 1u);
  EXPECT_EQ(p.growth->law, "linear");
  EXPECT_EQ(p.summary.size(), 1u);
}

TEST(ProbeRecord, TakesWhatAQuickDiagnosisLacksForMissing) {
  const json object{{"per_layer", json::array({{{"layer", 1}, {"usefulness", nullptr}}})},
                    {"variance_growth", nullptr}};
  const ProbeRecord p = read_probe(object, "p.json");
  EXPECT_EQ(p.layers, 1u);
  EXPECT_EQ(p.find("variance"), nullptr);
  EXPECT_EQ(p.find("usefulness"), nullptr) << "null in every layer";
  EXPECT_TRUE(p.causal.empty());
  EXPECT_FALSE(p.growth);
  EXPECT_TRUE(std::isnan(p.loss));
}

TEST(ProbeRecord, KeepsKeysThatItDoesNotKnow) {
  json object = probe_json(2);
  object["per_layer"][0]["variance_of_tomorrow"] = 7.0;
  object["per_layer"][0]["comment"] = "text";
  const ProbeRecord p = read_probe(object, "p.json");
  EXPECT_EQ(p.find("variance_of_tomorrow")->value[1], 7.0);
  EXPECT_EQ(p.find("comment"), nullptr);
}

TEST(ProbeRecord, NamesFileAndKeyOfWhatIsMalformed) {
  const auto spoilt = [](auto spoil) {
    json object = probe_json(2);
    spoil(object);
    return error_of_read(object);
  };
  EXPECT_THAT(error_of_read(json::array()), HasSubstr("p.json: is not a JSON object"));
  EXPECT_THAT(spoilt([](json& o) { o.erase("per_layer"); }), HasSubstr("has no list 'per_layer'"));
  EXPECT_THAT(spoilt([](json& o) { o["per_layer"] = json::array(); }), HasSubstr("'per_layer' is empty"));
  EXPECT_THAT(spoilt([](json& o) { o["per_layer"][1]["layer"] = 1; }), HasSubstr("no layer 2 in its place"));
  EXPECT_THAT(spoilt([](json& o) { o["per_layer"][1] = 3; }), HasSubstr("is not a JSON object"));
  EXPECT_THAT(spoilt([](json& o) { o["per_layer"][1]["variance"] = "x"; }),
              HasSubstr("'variance' is not a number"));
  EXPECT_THAT(spoilt([](json& o) { o["per_layer"][1]["variance_stderr"] = "x"; }),
              HasSubstr("'variance_stderr' is not a number"));
  EXPECT_THAT(spoilt([](json& o) { o["causal_score"][1] = json::array({1.0}); }),
              HasSubstr("row 2 of 'causal_score' has 1 values, not 2"));
  EXPECT_THAT(spoilt([](json& o) { o["causal_score"].erase(1); }),
              HasSubstr("'causal_score' has 1 rows for 2 layers"));
  EXPECT_THAT(spoilt([](json& o) { o["causal_score"] = 1; }), HasSubstr("has no list 'causal_score'"));
  EXPECT_THAT(spoilt([](json& o) { o["causal_score"][0] = 1; }), HasSubstr("is not a list of rows"));
  EXPECT_THAT(spoilt([](json& o) { o["causal_score"][0][1] = "x"; }),
              HasSubstr("a value that is not a number"));
  EXPECT_THAT(spoilt([](json& o) { o["variance_growth"] = 1; }), HasSubstr("is not a JSON object"));
  EXPECT_THAT(spoilt([](json& o) { o["summary"] = json::array({1}); }), HasSubstr("'summary' has an entry"));
  EXPECT_THAT(spoilt([](json& o) { o["tokens"] = -1; }), HasSubstr("'tokens' is not a whole number"));
}

TEST(SweepRecord, ReadsSingleLayersAndRunsOfThem) {
  json object = sweep_json({0.1, 0.2});
  object["removed"].push_back({{"layers", {3, 2}}, {"delta_loss", 0.5}});
  object["what"] = "mlp";
  const SweepRecord sweep = read_sweep(object, "s.json");
  EXPECT_EQ(sweep.what, "mlp");
  EXPECT_EQ(sweep.removed.size(), 2u);
  ASSERT_EQ(sweep.blocks.size(), 1u);
  EXPECT_EQ(sweep.blocks[0].layers, (std::vector<uint64_t>{2, 3}));
  object["removed"].push_back({{"layers", {1}}, {"delta_loss", 0.5}});
  EXPECT_THAT(error_of([&] { read_sweep(object, "s.json"); }), HasSubstr("s.json: removes layer 1 twice"));
  object["removed"] = json::array({{{"layers", json::array()}}});
  EXPECT_THAT(error_of([&] { read_sweep(object, "s.json"); }), HasSubstr("'layers' is empty"));
  object["removed"] = json::array({{{"layers", {0}}}});
  EXPECT_THAT(error_of([&] { read_sweep(object, "s.json"); }), HasSubstr("layers count from 1"));
}

}  // namespace
}  // namespace fathom
