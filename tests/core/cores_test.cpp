#include "core/cores.h"

#include <gtest/gtest.h>

#include "core/threads.h"
#include "support/fake_proc.h"

namespace fathom {
namespace {

using test::FakeProc;

class Cores : public ::testing::Test {
 protected:
  void set_siblings(size_t processor, const std::string& list, const char* name = "core_cpus_list") {
    fake_.write("sys/devices/system/cpu/cpu" + std::to_string(processor) + "/topology/" + name, list + "\n");
  }
  UsableCores count(const std::vector<size_t>& processors) const {
    return count_cores(processors, fake_.proc(), fake_.at("sys"));
  }

  FakeProc fake_;
};

TEST_F(Cores, HardwareThreadsOfACoreAreOne) {
  for (const size_t first : {0, 1, 2, 3}) {
    const std::string list = std::to_string(first) + "," + std::to_string(first + 4);
    set_siblings(first, list);
    set_siblings(first + 4, list);
  }
  const UsableCores all = count({0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(all.logical, 8u);
  EXPECT_EQ(all.cores, 4u);
  EXPECT_EQ(all.threads(), 4u);
  EXPECT_EQ(all.text(), "4 cores (8 hardware threads)");
  EXPECT_EQ(count({0, 4}).threads(), 1u) << "both of one core";
  EXPECT_EQ(count({0, 4}).text(), "1 core (2 hardware threads)");
  EXPECT_EQ(count({0, 5}).threads(), 2u) << "one of each of two cores";
}

TEST_F(Cores, OlderKernelsCallItAnotherName) {
  for (const size_t processor : {0, 1}) set_siblings(processor, "0-1", "thread_siblings_list");
  EXPECT_EQ(count({0, 1}).cores, 1u);
}

TEST_F(Cores, WithoutATopologyEachProcessorIsACore) {
  EXPECT_EQ(count({0, 1, 7}).threads(), 3u);
  set_siblings(0, "");
  EXPECT_EQ(count({0, 1, 7}).threads(), 3u);
  EXPECT_EQ(count({}).threads(), 1u);
}

TEST_F(Cores, AQuotaIsRoundedUp) {
  fake_.set_groups("0::/job\n");
  fake_.add_mount("/", "cgroup", "cgroup2", "rw");
  const auto threads = [&](const char* quota) {
    fake_.write("cgroup/job/cpu.max", quota);
    return count({0, 1, 2, 3}).threads();
  };
  EXPECT_EQ(threads("50000 100000\n"), 1u);
  EXPECT_EQ(threads("200000 100000\n"), 2u);
  EXPECT_EQ(threads("250000 100000\n"), 3u);
  EXPECT_EQ(count({0, 1, 2, 3}).text(), "4 cores, a quota of 2.5");
  EXPECT_EQ(threads("6400000 100000\n"), 4u);
  EXPECT_EQ(threads("max 100000\n"), 4u);
}

TEST_F(Cores, OfThisProcessAreHowManyThreadsItUses) {
  const std::vector<size_t> processors = allowed_processors();
  ASSERT_FALSE(processors.empty());
  EXPECT_LE(usable_cores().threads(), processors.size());
  set_num_threads(0);
  EXPECT_EQ(num_threads(), usable_cores().threads());
}

}  // namespace
}  // namespace fathom
