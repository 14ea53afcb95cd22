#include <cmath>

#include <gmock/gmock.h>

#include "report/compare_page.h"
#include "report/compare_results.h"
#include "report/depth_charts.h"
#include "report/page_data.h"
#include "report/probe_json.h"
#include "report/removals.h"
#include "report/run_folder.h"

namespace fathom {
namespace {

using nlohmann::json;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

json page_of(const json& probe, const json& sweep = {}) {
  return data_of(comparison_page(single_probe(probe, sweep)));
}

class CompareDiagnoses : public RunFolderTest {
 protected:
  std::filesystem::path put(const std::string& name, const json& object) const {
    write(name, object.dump());
    return folder_ / name;
  }
};

TEST(DepthPage, HasAllSectionsOfAFullDiagnosis) {
  const json page = page_of(probe_json(6));
  EXPECT_THAT(titles_of(page),
              ElementsAre("", "Which layers carry weight", "How the stream grows",
                          "How much each layer changes the stream", "What kind of map each layer is",
                          "How far apart layers are", "How layers depend on one another",
                          "What the model would say if it stopped", "All values", "What the numbers mean",
                          "What they can't show"));
  EXPECT_EQ(page["title"], "tiny");
  EXPECT_THAT(page["subtitle"].get<std::string>(), HasSubstr("6 layers"));
  EXPECT_THAT(page["footer"].get<std::string>(), HasSubstr("fathom probe"));
}

TEST(DepthPage, SaysInTheHeadlineWhatMayBeCutAtWhatPrice) {
  const json page = page_of(probe_json(3), sweep_json({1.0, 0.005, 0.5}));
  const json headline = block_of(page, "headline")["items"][0];
  // S = 1.505, sum d^2 = 1.250025: L = 1.81; the slopes 2 L / S (1 - L d / S) times 0.01 give 0.02.
  EXPECT_EQ(headline["lead"], "Effective depth: 1.8 \u00b1 0.0 of 3 layers.");
  EXPECT_THAT(
      headline["more"],
      ElementsAre(
          "Cheapest layer to cut: 2, +0.0050 \u00b1 0.0100 nats (perplexity 20.09 \u2192 20.19). "
          "Dearest: 1, +1.0000 \u00b1 0.0100 nats.",
          "No layer is known to cost less than 0.01 nats by itself, 1% of perplexity, at two standard "
          "errors. One cannot be told from that: 2.",
          "The cheapest is the least of 3 noisy costs, and so likelier too low than too high: price it "
          "on another text before cutting."));
  json blocks = sweep_json({1.0, 0.5});
  blocks["removed"].push_back({{"layers", {1, 2}}, {"delta_loss", 2.0}, {"delta_loss_stderr", 0.1}});
  EXPECT_THAT(block_of(page_of(probe_json(2), blocks), "headline").dump(),
              HasSubstr("Cheapest 2 layers to cut together: 1-2, +2.0000"));
}

TEST(DepthPage, SaysThatNothingHurtsOrNothingWasMeasured) {
  EXPECT_THAT(block_of(page_of(probe_json(2), sweep_json({-0.1, -0.2})), "headline").dump(),
              HasSubstr("No removal hurts"));
  json quick = probe_json(2);
  for (json& layer : quick["per_layer"]) layer.erase("delta_loss");
  const json page = page_of(quick);
  EXPECT_THAT(block_of(page, "headline").dump(), HasSubstr("What removing layers costs was not measured"));
  EXPECT_THAT(page.dump(), HasSubstr("Removal was not measured: fathom prune MODEL"));
}

TEST(DepthPage, LeavesOutWhatIsNotThereAndNamesIt) {
  json probe = probe_json(3);
  for (const char* key : {"angular_matrix_all", "angular_matrix_last", "causal_score", "permutation_score"})
    probe.erase(key);
  for (json& layer : probe["per_layer"]) layer["usefulness"] = nullptr;
  probe["per_layer"][1]["rms"] = nullptr;
  probe["usefulness_reason"] = "too few tokens";
  const json page = page_of(probe);
  EXPECT_THAT(titles_of(page), Not(Contains("How far apart layers are")));
  const std::string said = block_of(page, "findings").dump();
  EXPECT_THAT(said, HasSubstr("usefulness (too few tokens), angular_matrix_all"));
  EXPECT_THAT(said, HasSubstr("no finite value for rms (1 layer)"));
  EXPECT_TRUE(chart_of(page, "RMS of the residual stream")["series"][0]["points"][2][1].is_null());
}

TEST(DepthPage, ShowsAnglesInDegreesWithTheCheapestRunOfEachLength) {
  json probe = probe_json(3);
  probe["angular_matrix_all"] = {{0.5, 0.1, 0.2}, {0.4, 0.3}, {0.6}};
  const json page = page_of(probe);
  const json map = chart_of(page, "Angle between layers, all tokens")["maps"][0];
  EXPECT_EQ(map["values"][0], json({90.0, 18.0, 36.0}));
  EXPECT_EQ(map["values"][1], json({72.0, 54.0, nullptr}));
  EXPECT_EQ(map["marks"], json({{1, 0}, {1, 1}}));
  EXPECT_EQ(map["x"], json({0, 1, 2}));
  EXPECT_EQ(map["y"], json({1, 2, 3}));
}

TEST(DepthPage, HidesFillersOfTheMatrices) {
  const json page = page_of(probe_json(2));
  EXPECT_EQ(chart_of(page, "What later layers make of earlier ones")["maps"][0]["values"],
            json({{nullptr, 0.25}, {nullptr, nullptr}}));
  EXPECT_EQ(chart_of(page, "Two layers swapped")["maps"][0]["values"],
            json({{nullptr, 0.25}, {0.25, nullptr}}));
}

TEST(DepthPage, TakesOneLayerAndAHundred) {
  json one = probe_json(1);
  one["variance_growth"] = nullptr;
  EXPECT_THAT(titles_of(page_of(one)), Not(Contains("How layers depend on one another")));
  const json page = page_of(probe_json(100));
  EXPECT_EQ(chart_of(page, "Two layers swapped")["maps"][0]["values"].size(), 100u);
}

TEST(DepthPage, DrawsTheFittedLaw) {
  const ProbeRecord linear = read_probe(probe_json(6), "p");
  const std::vector<double> fit = fitted_variance(linear);
  ASSERT_EQ(fit.size(), 6u);
  for (size_t l = 1; l <= 6; ++l) EXPECT_NEAR(fit[l - 1], 0.1 * static_cast<double>(l), 1e-12);
  json object = probe_json(6);
  object["variance_growth"]["law"] = "power";
  const std::vector<double> power = fitted_variance(read_probe(object, "p"));
  EXPECT_NEAR(power[3], 0.4, 1e-12) << "V = 0.1 l is a power law with exponent 1 too";
  object["variance_growth"]["law"] = "exponential";
  object["variance_growth"]["rate"] = std::log(2.0);
  for (size_t l = 1; l <= 6; ++l) object["per_layer"][l - 1]["variance"] = std::exp2(static_cast<double>(l));
  EXPECT_NEAR(fitted_variance(read_probe(object, "p"))[4], 32, 1e-9);
  object["variance_growth"]["law"] = "a law of tomorrow";
  EXPECT_TRUE(fitted_variance(read_probe(object, "p")).empty());
  object["variance_growth"]["law"] = "linear";
  object["per_layer"][2]["variance"] = nullptr;
  EXPECT_TRUE(fitted_variance(read_probe(object, "p")).empty());
}

TEST(DepthPage, DoesNotBelieveALawWhereOneLayerJumps) {
  json object = probe_json(6);
  EXPECT_THAT(growth_text(read_probe(object, "p")),
              testing::StartsWith("linear, 0.1 a layer (AICc: linear -10.0"));
  object["variance_growth"]["dominated_by_jump"] = true;
  EXPECT_THAT(growth_text(read_probe(object, "p")), HasSubstr("no law is to be believed"));
}

TEST(DepthPage, DefinesWhatItShows) {
  const json page = page_of(probe_json(2));
  for (const json& section : page["sections"]) {
    for (const json& block : section["blocks"]) {
      if (block["kind"] != "chart" && block["kind"] != "heat") continue;
      ASSERT_TRUE(block.contains("define")) << block["title"];
      for (const json& index : block["define"]) EXPECT_LT(index.get<size_t>(), page["definitions"].size());
    }
  }
}

TEST(DepthPage, ListsAllValuesWithTheirErrors) {
  const json table = section_of(page_of(probe_json(2)), "All values")["blocks"][0];
  EXPECT_EQ(table["rows"].size(), 3u) << "the embedding and two layers";
  EXPECT_EQ(table["head"][1], "variance");
  EXPECT_EQ(table["rows"][2]["cells"][1], "0.2 \u00b1 0.01");
}

TEST(DepthPage, SaysThatALossWhichIsNotFiniteWasNotMeasured) {
  json sweep = sweep_json({0.5, 0.1});
  sweep["removed"][1]["loss"] = sweep["removed"][1]["delta_loss"] = nullptr;
  const std::string headline = block_of(page_of(probe_json(2), sweep), "headline").dump();
  EXPECT_THAT(headline, HasSubstr("Effective depth: not measured: the loss is not finite."));
  EXPECT_THAT(headline, Not(HasSubstr("No removal hurts")));
}

TEST(DepthPage, SaysWhyGradientsAreMissing) {
  json probe = probe_json(2);
  for (json& layer : probe["per_layer"]) layer["grad_norm"] = nullptr;
  probe["grad_norm_reason"] = "two passes";
  EXPECT_THAT(block_of(page_of(probe), "findings").dump(), HasSubstr("grad_norm (two passes)"));
}

// A run goes on after its sweep: what removal costs now is what the diagnosis says.
TEST(DepthPage, PutsNoSweepOfAnotherCheckpointOverTheDiagnosisOwnCosts) {
  json probe = probe_json(3), sweep = sweep_json({1.0, 0.005, 0.5});
  probe["checkpoint"] = "runs/a/checkpoints/step-1000";
  sweep["checkpoint"] = "/elsewhere/a/checkpoints/step-1000";
  EXPECT_THAT(block_of(page_of(probe, sweep), "headline").dump(), HasSubstr("Cheapest layer to cut: 2"));
  sweep["checkpoint"] = "runs/a/checkpoints/step-300";
  const json page = page_of(probe, sweep);
  EXPECT_THAT(block_of(page, "headline").dump(), HasSubstr("Cheapest layer to cut: 1, +0.1000"));
  EXPECT_THAT(block_of(page, "findings").dump(), HasSubstr("a sweep is of runs/a/checkpoints/step-300"));
  for (json& layer : probe["per_layer"]) layer.erase("delta_loss");
  EXPECT_THAT(
      chart_of(page_of(probe, sweep), "What removing a layer costs")["series"][0]["label"].get<std::string>(),
      HasSubstr("(of step-300)"));
}

TEST_F(CompareDiagnoses, OverlaysModelsAndAlignsThemByDepth) {
  const auto a = put("a.json", probe_json(4, "x/model")), b = put("b.json", probe_json(6, "y/model"));
  const RunComparison c = compare_runs({a, b});
  EXPECT_EQ(c.probes[0].name, "x/model");
  EXPECT_EQ(c.probes[1].run, 1u);
  const json page = data_of(comparison_page(c));
  const json chart = chart_of(page, "Block influence");
  EXPECT_EQ(chart["series"].size(), 2u);
  EXPECT_EQ(chart["x"]["relative"], true) << "4 and 6 layers";
  EXPECT_EQ(chart["series"][1]["layers"], 6);
  const json same = data_of(comparison_page(compare_runs({a, put("c.json", probe_json(4, "z"))})));
  EXPECT_EQ(chart_of(same, "Block influence")["x"]["relative"], false);
  EXPECT_THAT(probe_table(c).text(), HasSubstr("y/model"));
  EXPECT_EQ(comparison_json(c)["probes"][1]["layers"], 6);
}

TEST_F(CompareDiagnoses, GivesASweepToItsModel) {
  const auto a = put("a.json", probe_json(3, "m1")), b = put("b.json", probe_json(3, "m2"));
  const auto sweep = put("s.json", sweep_json({0.5, 0.25, 1}, "m2"));
  const RunComparison c = compare_runs({sweep, a, b});
  EXPECT_TRUE(c.probes[0].sweeps.empty());
  ASSERT_EQ(c.probes[1].sweeps.size(), 1u);
  EXPECT_EQ(removals_of(c)[1].cheapest()->layer, 2u);
  const RunComparison alone = compare_runs({a, put("t.json", sweep_json({0.5, 0.25}, "m3"))});
  EXPECT_EQ(alone.probes[1].name, "m3");
  EXPECT_EQ(removals_of(alone).size(), 2u);
  EXPECT_THAT(titles_of(data_of(comparison_page(compare_runs({sweep})))),
              Contains("Which layers carry weight"));
  EXPECT_THAT(error_of([&] {
                compare_runs({a, put("u.json", sweep_json({1, 1, 1, 1}, "m1"))});
              }),
              HasSubstr("u.json: removes layer 4, but 'm1' has 3 layers"));
}

TEST_F(CompareDiagnoses, ShowsTheDiagnosisThatARunHasInItsFolder) {
  const auto run = make_run("pre", "pre", {30, 40});
  put("pre/probe.json", probe_json(2, "pre"));
  put("pre/sweep.json", sweep_json({0.5, 0.1}));
  const RunComparison c = compare_runs({run, put("other.json", probe_json(2, "other"))});
  ASSERT_EQ(c.probes.size(), 2u);
  EXPECT_EQ(c.probes[0].name, "pre");
  EXPECT_EQ(c.probes[0].run, 0u);
  EXPECT_EQ(c.probes[1].run, 1u);
  EXPECT_EQ(removals_of(c).size(), 2u) << "the run's sweep stands for its diagnosis' own costs";
  const json page = data_of(comparison_page(c));
  EXPECT_THAT(titles_of(page), Contains("Training"));
  EXPECT_THAT(titles_of(page), Contains("How the stream grows"));
  EXPECT_EQ(page["title"], "pre and other, side by side");
}

TEST_F(CompareDiagnoses, PrefersTheDiagnosisOfARunToItsOlderSweep) {
  const auto run = make_run("pre", "pre", {30, 40});
  json probe = probe_json(2, "pre"), sweep = sweep_json({0.5, 0.1});
  probe["checkpoint"] = "pre/checkpoints/step-20";
  sweep["checkpoint"] = "pre/checkpoints/step-10";
  put("pre/probe.json", probe);
  put("pre/sweep.json", sweep);
  const RunComparison c = compare_runs({run});
  EXPECT_EQ(removals_of(c).at(0).cheapest()->delta_loss, 0.1);
  EXPECT_EQ(removals_of(c).at(0).cheapest()->layer, 1u) << "of the diagnosis: 0.1, 0.2";
  EXPECT_NEAR(c.summaries[0].effective_depth, 0.09 / 0.05, 1e-12);
  EXPECT_THAT(findings(c), Contains(HasSubstr("a sweep is of pre/checkpoints/step-10")));
  // Without a diagnosis the sweep stands, by its step.
  std::filesystem::remove(folder_ / "pre/probe.json");
  EXPECT_THAT(removals_of(compare_runs({run})).at(0).name, HasSubstr("pre (of step-10)"));
}

TEST_F(CompareDiagnoses, TellsTwoDiagnosesOfOneModelApart) {
  const RunComparison c = compare_runs({put("bf16.json", probe_json(2)), put("fp32.json", probe_json(2))});
  EXPECT_EQ(c.probes[0].name, "tiny (bf16.json)");
  EXPECT_EQ(c.probes[1].name, "tiny (fp32.json)");
}

TEST_F(CompareDiagnoses, RefusesFilesThatAreNeither) {
  EXPECT_THAT(
      error_of([&] {
        compare_runs({put("x.json", json{{"loss", 1}})});
      }),
      HasSubstr("x.json: is neither a diagnosis nor a removal sweep; give run directories, or files of"));
  write("y.json", "{");
  EXPECT_THAT(error_of([&] { compare_runs({folder_ / "y.json"}); }),
              HasSubstr("y.json: at byte 1: is not JSON"));
}

}  // namespace
}  // namespace fathom
