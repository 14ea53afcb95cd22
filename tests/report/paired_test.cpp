#include "report/paired.h"

#include <cmath>
#include <stdexcept>

#include <gtest/gtest.h>

namespace fathom {
namespace {

EvaluationRecord evaluation(uint64_t step, std::vector<double> nll, std::vector<uint64_t> count) {
  EvaluationRecord out;
  out.step = step;
  out.tokens = 100 * step;
  out.seq = 16;
  out.data_fingerprint = "aa";
  out.nll = std::move(nll);
  out.count = std::move(count);
  return out;
}

RunRecord run_with(std::vector<EvaluationRecord> evaluations) {
  RunRecord run;
  run.seed = "1";
  run.evaluations = std::move(evaluations);
  return run;
}

TEST(PairedDifference, OfEqualCountsIsTheMeanAndItsUsualStandardError) {
  // Differences a token: -0.1, -0.2, -0.3: mean -0.2, sample deviation 0.1.
  const PairedDifference d =
      paired_difference(evaluation(5, {30, 40, 50}, {10, 10, 10}), evaluation(5, {29, 38, 47}, {10, 10, 10}));
  EXPECT_NEAR(d.difference, -0.2, 1e-12);
  EXPECT_NEAR(d.standard_error, 0.1 / std::sqrt(3.0), 1e-12);
  EXPECT_EQ(d.step, 5u);
  EXPECT_EQ(d.tokens, 500u);
  EXPECT_EQ(d.sequences, 3u);
  EXPECT_EQ(d.verdict(), "beyond noise");
}

TEST(PairedDifference, WeighsSequencesByTheirTokens) {
  // d = (2, 0), c = (10, 30): D = 2 / 40; residuals 1.5 and -1.5; SE = sqrt(2 * 4.5) / 40.
  const PairedDifference d =
      paired_difference(evaluation(1, {10, 60}, {10, 30}), evaluation(1, {12, 60}, {10, 30}));
  EXPECT_NEAR(d.difference, 0.05, 1e-12);
  EXPECT_NEAR(d.standard_error, 3.0 / 40, 1e-12);
  EXPECT_EQ(d.verdict(), "within noise");
}

TEST(PairedDifference, KnowsTheLimitsOfItsVerdict) {
  PairedDifference d;
  d.difference = 0.2;
  d.standard_error = 0.1;
  EXPECT_EQ(d.verdict(), "within noise");  // Two standard errors exactly.
  d.difference = -0.2001;
  EXPECT_EQ(d.verdict(), "beyond noise");
  d.difference = kMissing;
  EXPECT_EQ(d.verdict(), "noise unknown");
  const PairedDifference one = paired_difference(evaluation(1, {10}, {10}), evaluation(1, {12}, {10}));
  EXPECT_NEAR(one.difference, 0.2, 1e-12);
  EXPECT_TRUE(std::isnan(one.standard_error));
  EXPECT_EQ(one.verdict(), "noise unknown");
  const PairedDifference same =
      paired_difference(evaluation(1, {1, 2}, {1, 1}), evaluation(1, {1, 2}, {1, 1}));
  EXPECT_EQ(same.standard_error, 0);
  EXPECT_EQ(same.verdict(), "within noise");
  EXPECT_THROW(paired_difference(evaluation(1, {1}, {1}), evaluation(1, {1}, {2})), std::invalid_argument);
}

TEST(PairRuns, TakesEverySharedStep) {
  const RunRecord a =
      run_with({evaluation(1, {1, 2}, {1, 1}), evaluation(2, {1, 2}, {1, 1}), evaluation(3, {1, 2}, {1, 1})});
  const RunRecord b =
      run_with({evaluation(2, {1, 2}, {1, 1}), evaluation(3, {2, 4}, {1, 1}), evaluation(4, {1, 2}, {1, 1})});
  const Pairing pairing = pair_runs(a, b);
  ASSERT_EQ(pairing.steps.size(), 2u);
  EXPECT_EQ(pairing.steps[0].step, 2u);
  EXPECT_EQ(pairing.steps[1].difference, 1.5);
  EXPECT_EQ(pairing.reason, "");
}

TEST(PairRuns, SaysWhyRunsCannotBePaired) {
  const RunRecord a = run_with({evaluation(1, {1, 2}, {1, 1})});
  const auto reason = [&](auto&& change) {
    RunRecord b = a;
    change(b);
    const Pairing pairing = pair_runs(a, b);
    EXPECT_TRUE(pairing.steps.empty());
    return pairing.reason;
  };
  EXPECT_EQ(reason([](RunRecord& b) { b.seed = "2"; }), "the seeds differ (1 and 2)");
  EXPECT_EQ(reason([](RunRecord& b) { b.seed = ""; }), "run.toml does not name the seed");
  EXPECT_EQ(reason([](RunRecord& b) { b.data_fingerprint = "bb"; }), "the training data differ");
  EXPECT_EQ(reason([](RunRecord& b) { b.evaluations.clear(); }), "one has no evaluation yet");
  EXPECT_EQ(reason([](RunRecord& b) { b.evaluations[0].step = 2; }), "never evaluated at the same step");
  EXPECT_EQ(reason([](RunRecord& b) { b.evaluations[0].data_fingerprint = "bb"; }),
            "the validation data differ");
  EXPECT_EQ(reason([](RunRecord& b) { b.evaluations[0].seq = 8; }), "evaluated at sequence lengths 16 and 8");
  EXPECT_EQ(reason([](RunRecord& b) { b.evaluations[0].count = {1, 2}; }), "evaluated on other sequences");
  EXPECT_EQ(reason([](RunRecord& b) { b.evaluations[0].tokens = 7; }), "100 and 7 tokens trained at step 1");
  RunRecord nameless = a;
  nameless.evaluations[0].data_fingerprint = "";
  EXPECT_EQ(pair_runs(nameless, nameless).reason, "the evaluations do not name their data");
}

}  // namespace
}  // namespace fathom
