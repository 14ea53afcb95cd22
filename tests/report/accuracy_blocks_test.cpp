#include "report/accuracy_blocks.h"

#include <gmock/gmock.h>

#include "report/compare_page.h"
#include "report/page_data.h"
#include "report/probe_json.h"
#include "report/run_folder.h"

namespace fathom {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

/// A sweep of piqa and arc_easy alone: `deltas` of acc by layer, each with a standard error of 0.02.
json task_sweep_json(const std::vector<double>& deltas, const std::string& model = "models/tiny") {
  json sweep = sweep_json(deltas, model);
  for (const char* key : {"loss", "perplexity"}) sweep[key] = nullptr;
  for (const char* task : {"piqa", "arc_easy"}) {
    sweep["tasks"].push_back({{"task", task},
                              {"n", 100},
                              {"acc", 0.7},
                              {"acc_stderr", 0.046},
                              {"acc_norm", 0.6},
                              {"acc_norm_stderr", 0.049},
                              {"baselines", {{"chance", 0.5}, {"majority", 0.55}}},
                              {"flags", json::object()}});
    for (size_t l = 0; l < deltas.size(); ++l) {
      json& removed = sweep["removed"][l];
      for (const char* key : {"loss", "delta_loss", "delta_loss_stderr"}) removed[key] = nullptr;
      json entry{{"task", task}, {"n", 100}, {"flags", json::object()}};
      for (const std::string metric : {"acc", "acc_norm"}) {
        entry[metric] = (metric == "acc" ? 0.7 : 0.6) + deltas[l];
        entry["delta_" + metric] = deltas[l];
        entry["delta_" + metric + "_stderr"] = 0.02;
        entry[metric + "_mcnemar_p"] = 0.25;
      }
      removed["tasks"].push_back(entry);
    }
  }
  return sweep;
}

json page_of(const json& probe, const json& sweep) {
  return data_of(comparison_page(single_probe(probe, sweep)));
}

class CompareAccuracies : public RunFolderTest {
 protected:
  std::filesystem::path put(const std::string& name, const json& object) const {
    write(name, object.dump());
    return folder_ / name;
  }
};

TEST(AccuracyRecord, IsReadAsTheSweepWroteIt) {
  const SweepRecord sweep = read_sweep(task_sweep_json({-0.1, 0.04, 0.05}), "s.json");
  EXPECT_TRUE(sweep.removed.empty()) << "there are no losses";
  ASSERT_EQ(sweep.accuracies.size(), 4u) << "two tasks, two metrics";
  const AccuracyRecord& a = sweep.accuracies[1];
  EXPECT_EQ(a.task, "piqa");
  EXPECT_EQ(a.metric, "acc_norm");
  EXPECT_EQ(a.items, 100u);
  EXPECT_EQ(a.majority, 0.55);
  EXPECT_EQ(sweep.last_layer(), 3u);
  EXPECT_EQ(a.removed[0].verdict(), "worse");
  EXPECT_EQ(a.removed[1].verdict(), "within noise") << "two standard errors are noise yet";
  EXPECT_EQ(a.removed[2].verdict(), "better");
  EXPECT_EQ(AccuracyRemovalRecord{}.verdict(), "noise unknown");
}

TEST(AccuracyRecord, RefusesWhatDoesNotFitTogether) {
  json twice = task_sweep_json({-0.1, 0.1});
  twice["removed"].push_back(twice["removed"][1]);
  EXPECT_THAT(error_of([&] { read_sweep(twice, "s.json"); }),
              HasSubstr("s.json: scores 'piqa' without layer 2 twice"));
  json foreign = task_sweep_json({-0.1});
  foreign["removed"][0]["tasks"][0]["task"] = "boolq";
  EXPECT_THAT(error_of([&] { read_sweep(foreign, "s.json"); }), HasSubstr("'acc' of 'boolq'"));
  json text = task_sweep_json({-0.1});
  text["removed"][0]["tasks"][0]["delta_acc"] = "much";
  EXPECT_THAT(error_of([&] { read_sweep(text, "s.json"); }), HasSubstr("delta_acc"));
}

TEST(AccuracySentences, SayWhatIsNoiseWhatIsWorstAndWhatIsNoScore) {
  json sweep = task_sweep_json({-0.3, -0.01, 0.0, -0.02});
  sweep["removed"][0]["tasks"][0]["flags"]["acc"] = "every item is answered with choice 1";
  const SweepRecord read = read_sweep(sweep, "s.json");
  EXPECT_THAT(
      accuracy_sentences(read.accuracies, "layer"),
      ElementsAre(
          "piqa (100 items, whole 70.00 +- 4.60): no change of accuracy was detected in 3 of 4 removals of a "
          "layer: 2-4 (the smallest detectable is about 4.00 points). Worst without 1: -30.00 +- 2.00 "
          "points.",
          "piqa: the score without 1 equals that of some constant answer: a model that knows nothing gets it "
          "too.",
          "arc_easy (100 items, whole 70.00 +- 4.60): no change of accuracy was detected in 3 of 4 removals "
          "of "
          "a layer: 2-4 (the smallest detectable is about 4.00 points). Worst without 1: -30.00 +- 2.00 "
          "points."));
  EXPECT_THAT(accuracy_sentences(read.accuracies, "mlp")[0], HasSubstr("removals of a layer's MLP: 2-4"));
  sweep["removed"][2]["layers"] = {3, 4};
  sweep["removed"].erase(3);
  sweep["removed"][0]["layers"] = {1, 2};
  sweep["removed"][1]["layers"] = {2, 3};
  EXPECT_THAT(
      accuracy_sentences(read_sweep(sweep, "s.json").accuracies, "layer")[0],
      HasSubstr("2 of 3 removals of a run of 2 layers: 2-3, 3-4 (the smallest detectable is about 4.00 "
                "points). Worst without 1-2"));
}

TEST(AccuracyBlocks, StandOnThePageOfADiagnosis) {
  const json page = page_of(probe_json(3), task_sweep_json({-0.1, 0.0, -0.01}));
  const json chart = chart_of(page, "What removing layers does to piqa");
  EXPECT_EQ(chart["type"], "bar");
  ASSERT_EQ(chart["series"].size(), 2u);
  EXPECT_EQ(chart["series"][0]["label"], "acc");
  EXPECT_EQ(chart["series"][0]["points"], json({{1, -10.0}, {2, 0.0}, {3, -1.0}}));
  EXPECT_EQ(chart["series"][0]["errors"], json({2.0, 2.0, 2.0}));
  EXPECT_NE(chart["series"][0]["colour"], chart["series"][1]["colour"]);
  EXPECT_THAT(chart["note"].get<std::string>(), HasSubstr("on the same 100 items"));
  EXPECT_FALSE(chart_of(page, "What removing layers does to arc_easy").is_null());
  const json table = block_where(page, "fold", "Accuracy of tiny without its layers");
  EXPECT_EQ(table["head"].size(), 1u + 4 * 4);
  EXPECT_EQ(table["rows"][0]["cells"][1], "70.00 \u00b1 4.60");
  EXPECT_EQ(table["rows"][1]["cells"][0], "1");
  EXPECT_EQ(table["rows"][1]["cells"][1], "60.00");
  EXPECT_EQ(table["rows"][1]["cells"][2], "\u221210.00 \u00b1 2.00");
  EXPECT_EQ(table["rows"][1]["cells"][3], "0.25");
  EXPECT_EQ(table["rows"][1]["cells"][4], "worse");
  EXPECT_EQ(table["rows"][2]["cells"][4], "within noise");
  // The diagnosis's own costs of removal stay beside the accuracies.
  EXPECT_FALSE(chart_of(page, "What removing a layer costs").is_null());
  EXPECT_THAT(block_of(page, "headline").dump(), HasSubstr("Effective depth"));
  EXPECT_THAT(block_of(page, "headline").dump(), HasSubstr("piqa (100 items"));
}

TEST(AccuracyBlocks, AreThereWithoutAnyLoss) {
  json probe = probe_json(2);
  for (json& layer : probe["per_layer"]) layer.erase("delta_loss");
  const json page = page_of(probe, task_sweep_json({-0.1, 0.0}));
  const std::string headline = block_of(page, "headline").dump();
  EXPECT_THAT(headline, Not(HasSubstr("No removal hurts")));
  EXPECT_THAT(headline, Not(HasSubstr("No layer is free")));
  EXPECT_TRUE(chart_of(page, "What removing a layer costs").is_null());
  EXPECT_FALSE(chart_of(page, "What removing layers does to piqa").is_null());
}

TEST_F(CompareAccuracies, OverlayModelsAndLeaveARunsLossesAlone) {
  const auto run = make_run("pre", "pre", {30, 40});
  put("pre/sweep.json", sweep_json({0.5, 0.1}));
  const auto tasks = put("t.json", task_sweep_json({-0.1, 0.0}, run.string()));
  const auto other = put("o.json", task_sweep_json({-0.2, 0.0, 0.1}, "models/other"));
  const RunComparison c = compare_runs({run, tasks, other});
  ASSERT_TRUE(c.runs[0].sweep);
  EXPECT_EQ(c.runs[0].sweep->removed.size(), 2u);
  EXPECT_EQ(c.runs[0].other_sweeps.size(), 1u);
  const json page = data_of(comparison_page(c)), chart = chart_of(page, "What removing layers does to piqa");
  ASSERT_EQ(chart["series"].size(), 4u);
  EXPECT_EQ(chart["type"], "line");
  EXPECT_EQ(chart["x"]["relative"], true) << "2 and 3 layers";
  EXPECT_EQ(chart["series"][0]["label"], "pre, acc");
  EXPECT_EQ(chart["series"][3]["label"], "other, acc_norm");
  EXPECT_EQ(chart["series"][3]["dash"], true);
  EXPECT_FALSE(chart_of(page, "What removing a layer costs").is_null());
}

}  // namespace
}  // namespace fathom
