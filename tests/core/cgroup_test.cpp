#include "core/cgroup.h"

#include <gtest/gtest.h>

#include "support/fake_proc.h"

namespace fathom {
namespace {

using test::FakeProc;

class Cgroup : public ::testing::Test {
 protected:
  // What `systemd-run -p MemoryMax=` makes, below a slice that has a limit of its own.
  void make_v2(const std::string& own) {
    fake_.set_groups("0::/user.slice/run.scope\n");
    fake_.add_mount("/", "cgroup", "cgroup2", "rw,nsdelegate");
    fake_.write("cgroup/user.slice/run.scope/memory.max", own);
    fake_.write("cgroup/user.slice/run.scope/memory.current", "700\n");
    fake_.write("cgroup/user.slice/run.scope/memory.stat",
                "anon 300\nfile 400\nshmem 250\ninactive_file 100\nactive_file 50\n");
  }
  // What SLURM makes: the limit is the job's, the process sits two groups below.
  void make_v1(const std::string& job) {
    fake_.set_groups("9:cpuset:/\n4:memory:/slurm/job_1/step_0/task_0\n0::/\n");
    fake_.add_mount("/", "memory", "cgroup", "rw,memory");
    fake_.add_mount("/", "unified", "cgroup2", "rw");
    for (const char* group : {"memory", "memory/slurm", "memory/slurm/job_1", "memory/slurm/job_1/step_0",
                              "memory/slurm/job_1/step_0/task_0"}) {
      fake_.write(std::string(group) + "/memory.limit_in_bytes", "9223372036854771712\n");
      fake_.write(std::string(group) + "/memory.usage_in_bytes", "500\n");
    }
    fake_.write("memory/slurm/job_1/memory.limit_in_bytes", job);
    fake_.write("memory/slurm/job_1/memory.stat",
                "cache 300\ninactive_file 1\nactive_file 1\ntotal_inactive_file 60\ntotal_active_file 40\n");
  }
  std::optional<uint64_t> left() const { return memory_left_in_groups(fake_.proc()); }
  std::optional<double> quota() const { return cpu_quota(fake_.proc()); }

  FakeProc fake_;
};

TEST_F(Cgroup, V2TakesTheLimitOfTheProcesssOwnGroup) {
  make_v2("1000\n");
  // Of the file cache, what lies in shared memory stays taken.
  EXPECT_EQ(left(), 1000u - (700 - 150));
}

TEST_F(Cgroup, V2TakesTheTightestLimitOfTheGroupsAbove) {
  make_v2("1000\n");
  fake_.write("cgroup/user.slice/memory.max", "5000\n");
  fake_.write("cgroup/user.slice/memory.current", "4800\n");
  EXPECT_EQ(left(), 200u);
  fake_.write("cgroup/user.slice/memory.current", "6000\n");  // a limit that was lowered
  EXPECT_EQ(left(), 0u);
  fake_.write("cgroup/user.slice/memory.max", "max\n");
  EXPECT_EQ(left(), 450u);
}

TEST_F(Cgroup, V2WithoutALimitHasNone) {
  make_v2("max\n");
  EXPECT_EQ(left(), std::nullopt);
}

TEST_F(Cgroup, V1TakesTheLimitOfAJobAboveTheProcess) {
  make_v1("2000\n");
  EXPECT_EQ(left(), 2000u - (500 - 100));
}

TEST_F(Cgroup, V1WithoutALimitHasNone) {
  make_v1("9223372036854771712\n");
  EXPECT_EQ(left(), std::nullopt);
}

// A container: the host's group is what is mounted, under its own name or, where the process has a namespace
// of its own, as the root.
TEST_F(Cgroup, AContainerSeesItsGroupAtTheMountsRoot) {
  fake_.set_groups("4:memory:/docker/0123\n");
  fake_.add_mount("/docker/0123", "memory", "cgroup", "ro,memory");
  fake_.write("memory/memory.limit_in_bytes", "3000\n");
  fake_.write("memory/memory.usage_in_bytes", "1000\n");
  EXPECT_EQ(control_groups("memory", fake_.proc()),
            (std::vector<ControlGroup>{{.folder = fake_.at("memory"), .v1 = true}}));
  EXPECT_EQ(left(), 2000u);
  fake_.set_groups("4:memory:/\n");
  EXPECT_EQ(left(), 2000u);
  fake_.set_groups("4:memory:/../elsewhere\n");
  EXPECT_EQ(left(), 2000u);
}

TEST_F(Cgroup, WhereItsPathDoesNotExistWhatCanBeSeenAboveCounts) {
  fake_.set_groups("0::/kubepods/pod/container\n");
  fake_.add_mount("/", "my cgroup", "cgroup2", "rw");
  std::string mounts = read_text_file(fake_.proc() / "self/mountinfo");
  mounts.replace(mounts.find("my cgroup"), 9, "my\\040cgroup");  // as the kernel writes it
  fake_.write("proc/self/mountinfo", mounts);
  fake_.write("my cgroup/memory.max", "3000\n");
  fake_.write("my cgroup/memory.current", "1000\n");
  EXPECT_EQ(control_groups("memory", fake_.proc()),
            (std::vector<ControlGroup>{{.folder = fake_.at("my cgroup"), .v1 = false}}));
  EXPECT_EQ(left(), 2000u);
}

TEST_F(Cgroup, MalformedFilesAreNoLimit) {
  EXPECT_EQ(left(), std::nullopt) << "no /proc at all";
  EXPECT_EQ(quota(), std::nullopt);
  fake_.set_groups("0::/a\n");
  EXPECT_EQ(left(), std::nullopt) << "nothing mounted";
  fake_.add_mount("/", "cgroup", "cgroup2", "rw");
  fake_.write("cgroup/a/memory.current", "1\n");
  for (const char* text : {"", "\n", "-5\n", "12x\n", "x\n", "99999999999999999999999\n"}) {
    fake_.write("cgroup/a/memory.max", text);
    EXPECT_EQ(left(), std::nullopt) << text;
    fake_.write("cgroup/a/cpu.max", std::string(text) + " 100000\n");
    EXPECT_EQ(quota(), std::nullopt) << text;
  }
  fake_.write("cgroup/a/memory.max", "10\n");
  fake_.write("cgroup/a/memory.stat", "inactive_file\nactive_file -7\nx\n");
  EXPECT_EQ(left(), 9u);
  for (const char* text : {"", "no colon\n", "1:memory\n", ":::\n", "::\n"}) {
    fake_.set_groups(text);
    EXPECT_NO_THROW(left()) << text;
  }
}

TEST_F(Cgroup, QuotasAreTheTightestOfAllGroups) {
  fake_.set_groups("0::/job/task\n");
  fake_.add_mount("/", "cgroup", "cgroup2", "rw");
  fake_.write("cgroup/job/task/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  fake_.write("cgroup/job/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 1.5);
  fake_.write("cgroup/job/task/cpu.max", "400000 100000\n");
  EXPECT_EQ(quota(), 1.5);
  fake_.write("cgroup/job/cpu.max", "400000 0\n");
  EXPECT_EQ(quota(), 4.0);
}

TEST_F(Cgroup, V1QuotasOfControllersThatAreMountedTogether) {
  fake_.set_groups("3:cpu,cpuacct:/docker/0123\n");
  fake_.add_mount("/", "cpuset", "cgroup", "rw,cpuset");
  fake_.add_mount("/", "cpu,cpuacct", "cgroup", "rw,cpu,cpuacct");
  fake_.write("cpu,cpuacct/docker/0123/cpu.cfs_quota_us", "-1\n");
  fake_.write("cpu,cpuacct/docker/0123/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  fake_.write("cpu,cpuacct/docker/0123/cpu.cfs_quota_us", "250000\n");
  EXPECT_EQ(quota(), 2.5);
}

}  // namespace
}  // namespace fathom
