#include "report/compare.h"

#include <cmath>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "report/compare_page.h"
#include "report/compare_results.h"
#include "report/format.h"
#include "report/page_data.h"
#include "report/run_folder.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class CompareRuns : public RunFolderTest {
 protected:
  void write_sweep(const std::string& run, const std::string& depth) const {
    write(run + "/sweep.json",
          R"({"loss":3,"removed":[{"layers":[1],"delta_loss":0.4,"delta_loss_stderr":0.01},
        {"layers":[2],"delta_loss":-0.1}],"effective_depth":)" +
              depth + R"(,"effective_depth_ratio":null})");
  }
};

TEST_F(CompareRuns, FillsTheTable) {
  const auto a = make_run("pre", "pre", {30, 40});
  const auto b = make_run("lns", "lns", {29, 37});
  write_sweep("pre", "1.0");
  write_sweep("lns", "null");
  const RunComparison c = compare_runs({a, b});
  EXPECT_EQ(summary_table(c).text(),
            "run  scheme  parameters  tokens  val perplexity  tokens/s  variance, first -> last layer  "
            "effective depth\n"
            "---  ------  ----------  ------  --------------  --------  -----------------------------  "
            "---------------\n"
            "pre  pre           1000     200   33.10 +- 3.31        60                  0.5 -> 2 (4x)  1.0 "
            "of 2 (0.50)\n"
            "lns  lns           1000     200   33.10 +- 3.31        60                  0.5 -> 2 (4x)        "
            "     none\n");
  EXPECT_THAT(findings(c),
              ElementsAre("lns minus pre: validation loss -0.2000 +- 0.1000 nats, paired over 2 sequences at "
                          "step 2: within noise (2.0 standard errors)."));
}

TEST_F(CompareRuns, ShowsADashForWhatARunLacks) {
  write("bare/run.toml", "norm = \"peri\"\n");
  write("bare/metrics.jsonl", "{\"step\":1,\"tokens\":10}\n");
  const RunComparison c = compare_runs({make_run("pre", "pre", {30}), folder_ / "bare"});
  EXPECT_THAT(summary_table(c).row(1), ElementsAre("bare", "peri", "-", "10", "-", "-", "-", "-"));
  const std::vector<std::string> sentences = findings(c);
  ASSERT_EQ(sentences.size(), 3u);
  EXPECT_EQ(sentences[0], "bare and pre can't be paired: run.toml does not name the seed.");
  EXPECT_THAT(sentences[2], HasSubstr("bare has no removal sweep yet: fathom prune"));
  const nlohmann::json json = comparison_json(c);
  EXPECT_TRUE(json["runs"][1]["val_loss"].is_null());
  EXPECT_TRUE(json["runs"][1]["effective_depth"].is_null());
  EXPECT_EQ(json["paired"][0]["steps"].size(), 0u);
  const std::string page = comparison_page(c);
  EXPECT_THAT(page, HasSubstr("No probe was logged by bare."));
  EXPECT_THAT(page, HasSubstr("No run has a removal sweep"));
}

TEST_F(CompareRuns, SaysWhenPerplexitiesAreOfOtherNumbersOfTokens) {
  const auto a = make_run("pre", "pre", {30, 40});
  const auto b = make_run("lns", "lns", {29, 37});
  std::filesystem::remove(b / "evals/step-2.json");
  write("lns/metrics.jsonl", "{\"step\":1,\"tokens\":100,\"loss\":4}\n");
  EXPECT_THAT(findings(compare_runs({a, b})),
              testing::Contains(
                  "The perplexities are not of the same number of tokens: pre after 200, lns after 100."));
}

TEST_F(CompareRuns, PutsNumbersIntoJson) {
  const RunComparison c = compare_runs({make_run("pre", "pre", {30, 40}), make_run("lns", "lns", {29, 37})});
  const nlohmann::json json = comparison_json(c);
  const nlohmann::json& run = json["runs"][1];
  EXPECT_EQ(run["norm"], "lns");
  EXPECT_EQ(run["tokens_per_second"], 60.0);
  EXPECT_EQ(run["variance_last"], 2.0);
  EXPECT_EQ(run["val_step"], 2);
  EXPECT_NEAR(run["val_ppl_stderr"].get<double>(), 3.31, 1e-9);
  const nlohmann::json& pair = json["paired"][0];
  EXPECT_EQ(pair["run"], "lns");
  EXPECT_EQ(pair["versus"], "pre");
  EXPECT_EQ(pair["steps"].size(), 2u);
  EXPECT_NEAR(pair["steps"][1]["val_loss_difference"].get<double>(), -0.2, 1e-12);
}

TEST_F(CompareRuns, TellsRunsOfOneNameApartAndRefusesTheSameTwice) {
  const auto a = make_run("x/run", "pre", {30});
  const auto b = make_run("y/run", "lns", {30});
  const RunComparison c = compare_runs({a, b});
  EXPECT_EQ(c.runs[0].name, "x/run");
  EXPECT_EQ(c.runs[1].name, "y/run");
  EXPECT_THAT(error_of([&] { compare_runs({a, b, folder_ / "x/../x/run/"}); }), HasSubstr("is given twice"));
}

TEST_F(CompareRuns, KeepsNamesThatAreNotUtf8OrLookLikeMarkup) {
  const auto b = make_run("a<!--&\xff", "pre", {30});
  const RunComparison d = compare_runs({b});
  EXPECT_EQ(d.runs[0].name, "a<!--&\xef\xbf\xbd");
  const std::string page = comparison_page(d);
  EXPECT_EQ(data_of(page)["title"], d.runs[0].name);
  EXPECT_THAT(page.substr(page.find("id=\"data\"")), Not(HasSubstr("a<!--&")));
  EXPECT_THAT(page, HasSubstr("<title>a&lt;!--&amp;"));
}

TEST_F(CompareRuns, EscapesWhatWouldEndAScript) {
  const auto a = make_run("a", "</script><script>boom()//", {30});
  const std::string page = comparison_page(compare_runs({a}));
  EXPECT_THAT(page, Not(HasSubstr("<script>boom()")));
  EXPECT_EQ(data_of(page)["sections"][0]["blocks"][0]["rows"][0]["cells"][1], "</script><script>boom()//");
}

TEST_F(CompareRuns, MakesAPageThatNeedsNoNetwork) {
  const std::string page = comparison_page(compare_runs({make_run("a", "pre", {30})}));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_THAT(page, HasSubstr("Chart.js v3"));
  EXPECT_THAT(page, HasSubstr("name=\"viewport\""));
  for (const char* reference : {"src=\"", "href=\"http", "url(", "@import", "fetch(", "sourceMappingURL"}) {
    EXPECT_THAT(page, Not(HasSubstr(reference)));
  }
}

TEST_F(CompareRuns, ShortensLongCurves) {
  const auto a = make_run("a", "pre", {30});
  std::string metrics;
  for (int step = 1; step <= 20000; ++step) {
    metrics += "{\"step\":" + std::to_string(step) + ",\"tokens\":" + std::to_string(step * 64) +
               ",\"loss\":" + std::to_string(3 + 5.0 / step) + ",\"layer_variance\":[1,2]}\n";
  }
  write("a/metrics.jsonl", metrics);
  const std::string page = comparison_page(compare_runs({a}));
  EXPECT_LT(page.size(), 320'000u);
  const nlohmann::json points = data_of(page)["sections"][1]["blocks"][0]["series"][0]["points"];
  EXPECT_EQ(points.size(), 1000u);
  EXPECT_EQ(points.front()[0], 64);
  EXPECT_EQ(points.back()[0], 20000 * 64);
}

TEST(Summarize, TakesTheMedianSpeed) {
  RunRecord run;
  for (const double speed : {5.0, 1.0, 100.0, kMissing, 7.0}) {
    run.points.emplace_back();
    run.points.back().tokens_per_second = speed;
  }
  EXPECT_EQ(summarize(run).tokens_per_second, 6.0);
  run.points.pop_back();
  EXPECT_EQ(summarize(run).tokens_per_second, 5.0);
}

TEST(Format, WritesNumbersForPeople) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(9999), "9999");
  EXPECT_EQ(count_text(11426880), "11.4M");
  EXPECT_EQ(count_text(2.2e9), "2.20B");
  EXPECT_EQ(count_text(999999), "1.00M");
  EXPECT_EQ(count_text(5e15), "5000T");
  EXPECT_EQ(count_text(kMissing), "");
  EXPECT_EQ(number_text(0.012345, 3), "0.0123");
  EXPECT_EQ(number_text(2213.4, 3), "2210");
  EXPECT_EQ(number_text(-4.56e8, 3), "-4.56e+08");
  EXPECT_EQ(number_text(kMissing, 3), "");
  EXPECT_EQ(with_error(1.005, kMissing, 2), "1.00");
  EXPECT_EQ(with_error(25.432, 0.2149, 2), "25.43 +- 0.21");
  EXPECT_EQ(with_error(kMissing, 1, 2), "");
  EXPECT_EQ(valid_utf8("a\xff"), "a\xef\xbf\xbd");
}

}  // namespace
}  // namespace fathom
