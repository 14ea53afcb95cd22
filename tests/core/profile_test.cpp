#include "core/profile.h"

#include <chrono>
#include <thread>

#include <gtest/gtest.h>

namespace fathom {
namespace {

void wait_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

TEST(Profile, AddsUpByNameAndTakesNestedScopesOut) {
  const auto start = std::chrono::steady_clock::now();
  Profile profile;
  for (int i = 0; i < 2; ++i) {
    const ProfileScope outer("outer", 1, 10);
    wait_ms(2);
    {
      const ProfileScope inner("inner");
      profile_work(5, 50);
      wait_ms(20);
    }
    profile_work(2, 20);
  }
  const double whole_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto& entries = profile.entries();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].name, "outer");
  EXPECT_EQ(entries[0].calls, 2u);
  EXPECT_EQ(entries[0].flop, 6);
  EXPECT_EQ(entries[0].bytes, 60);
  EXPECT_EQ(entries[1].name, "inner");
  EXPECT_EQ(entries[1].flop, 10);
  EXPECT_GE(entries[1].seconds, 0.04);
  EXPECT_GE(entries[0].seconds, 0.004);
  // However long the machine slept: what is inside does not count twice.
  EXPECT_LE(entries[0].seconds + entries[1].seconds, whole_s);
}

TEST(Profile, RecordsThisThreadAloneAndOnlyWhileItLives) {
  {
    const ProfileScope before("before");  // no profile: nothing to write to
    profile_work(1, 1);
  }
  Profile profile;
  profile_work(1, 1);  // outside of any scope: dropped
  std::thread([] {
    const ProfileScope scope("elsewhere");
    profile_work(1, 1);
  }).join();
  EXPECT_TRUE(profile.entries().empty());
  { const ProfileScope scope("here"); }
  EXPECT_EQ(profile.entries().size(), 1u);
  profile.clear();
  EXPECT_TRUE(profile.entries().empty());
}

}  // namespace
}  // namespace fathom
