#include "train/memory_check.h"

#include "core/format.h"
#include "run_fixture.h"
#include "support/fake_proc.h"
#include "train/machine.h"

namespace fathom {
namespace {

using test::RunTest;

constexpr ErrorCode kFailed = ErrorCode::kFailed;

class MemoryCheck : public RunTest {
 protected:
  /// 12 sequences of 64 tokens a micro-batch, twice a step: activations are most of the memory.
  RunPlan plan(bool resume = false) {
    TrainSettings s = settings("run");
    s.batch = 12;
    s.grad_accum = 2;
    s.seq = 64;
    RunPlan plan = plan_run(s);
    plan.settings.resume = resume;
    return plan;
  }
  static uint64_t total(const RunPlan& plan) { return plan_run_memory(plan, 0).total(); }
  template <class Change>
  static uint64_t total_with(RunPlan& plan, const Change& change) {
    const TrainSettings before = plan.settings;
    change(plan.settings);
    const uint64_t bytes = total(plan);
    plan.settings = before;
    return bytes;
  }
};

TEST_F(MemoryCheck, LetsThroughWhatFits) {
  const RunPlan p = plan();
  EXPECT_NO_THROW(check_memory(p, total(p)));
  EXPECT_ERROR(check_memory(p, total(p) - 1), kFailed, "a training step takes", "activations", "evaluation",
               "scratch", "are available");
  EXPECT_GT(available_memory().value_or(0), uint64_t{1} << 20);
}

// A group's limit is in the folder of the process's group, of which the mount's root has none.
TEST_F(MemoryCheck, SeesTheLimitOfItsControlGroup) {
  test::FakeProc fake;
  fake.write("proc/meminfo", "MemTotal:  16 kB\nMemAvailable:  8 kB\n");
  EXPECT_EQ(available_memory(fake.proc()), 8192u);
  fake.set_groups("0::/system.slice/run.service\n");
  fake.add_mount("/", "cgroup", "cgroup2", "rw");
  fake.write("cgroup/system.slice/run.service/memory.max", "5000\n");
  fake.write("cgroup/system.slice/run.service/memory.current", "1000\n");
  EXPECT_EQ(available_memory(fake.proc()), 4000u);
  fake.write("cgroup/system.slice/run.service/memory.max", "50000\n");
  EXPECT_EQ(available_memory(fake.proc()), 8192u);
}

TEST_F(MemoryCheck, CountsEvaluationAndTheStateOfTheOptimizer) {
  RunPlan p = plan();
  const MemoryPlan with = plan_run_memory(p, 0);
  p.eval_sequences = 0;
  EXPECT_LT(total(p), with.total());
  p.settings.optimizer_state = "bf16";
  EXPECT_EQ(plan_run_memory(p, 0).optimizer, with.optimizer / 2);
}

TEST_F(MemoryCheck, PacksTheWeightsWhereThereIsRoom) {
  RunPlan p = plan();
  p.settings.dtype = "bf16";
  if (!reads_packed_matrices(DType::kBf16))
    GTEST_SKIP() << "products read no packed matrices here: no amx, or another FATHOM_GEMM";
  const size_t packed = ResidentWeights<bf16>::packed_bytes(p.config, Packing::kTraining);
  EXPECT_GT(packed, 0u);
  EXPECT_EQ(plan_run_memory(p, total(p) + packed).packed, packed);
  EXPECT_EQ(plan_run_memory(p, total(p) + packed).total(), total(p) + packed);
  EXPECT_EQ(plan_run_memory(p, total(p) + packed - 1).packed, 0u);
}

TEST_F(MemoryCheck, NamesTheFlagsThatWouldFitWithTheirForecasts) {
  RunPlan p = plan();
  const std::string recompute =
      "--recompute (" + bytes_text(total_with(p, [](auto& s) { s.recompute = true; })) + ")";
  const std::string state = "--optimizer-state bf16 (" +
                            bytes_text(total_with(p, [](auto& s) { s.optimizer_state = "bf16"; })) + ")";
  const std::string batch = "--batch 6 --grad-accum 4 (" +
                            bytes_text(total_with(p,
                                                  [](auto& s) {
                                                    s.batch = 6;
                                                    s.grad_accum = 4;
                                                  })) +
                            ")";
  EXPECT_ERROR(check_memory(p, total(p) - 1), kFailed, "would fit: ", recompute.c_str(), state.c_str(),
               batch.c_str());
}

TEST_F(MemoryCheck, PullsLeversTogetherWhereOneIsNotEnough) {
  RunPlan p = plan();
  const auto both = [](TrainSettings& s) {
    s.recompute = true;
    s.optimizer_state = "bf16";
  };
  const uint64_t least = total_with(p, [&](auto& s) {
    both(s);
    s.batch = 1;
    s.grad_accum = 24;
  });
  EXPECT_ERROR(check_memory(p, least), kFailed,
               "would fit: --recompute --optimizer-state bf16 --batch 1 --grad-accum 24");
  EXPECT_ERROR(check_memory(p, least - 1), kFailed,
               "even --recompute --optimizer-state bf16 --batch 1 --grad-accum 24 takes", "--seq");
}

TEST_F(MemoryCheck, ProposesToAResumedRunWhatItMayChange) {
  const RunPlan p = plan(true);
  try {
    check_memory(p, total(p) - 1);
    FAIL();
  } catch (const Error& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find("--recompute ("), std::string::npos) << text;
    EXPECT_EQ(text.find("--batch"), std::string::npos) << text;
    EXPECT_EQ(text.find("--optimizer-state"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace fathom
