#include "core/profile.h"

#include <thread>

#include <gtest/gtest.h>

namespace fathom {
namespace {

void wait_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

TEST(Profile, AddsUpByNameAndTakesNestedScopesOut) {
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
  EXPECT_LT(entries[0].seconds, entries[1].seconds);  // 4 ms of its own, not 44
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
