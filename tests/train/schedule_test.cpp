#include "train/schedule.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace fathom {
namespace {

Schedule schedule(ScheduleKind kind) {
  return {.kind = kind, .peak = 2.0, .min_ratio = 0.1, .steps = 100, .warmup = 20, .decay_share = 0.25};
}

TEST(Schedule, WarmsUpLinearlyToThePeak) {
  for (const auto kind : {ScheduleKind::kCosine, ScheduleKind::kWsd, ScheduleKind::kLinear}) {
    EXPECT_DOUBLE_EQ(learning_rate(schedule(kind), 1), 0.1);
    EXPECT_DOUBLE_EQ(learning_rate(schedule(kind), 10), 1.0);
    EXPECT_DOUBLE_EQ(learning_rate(schedule(kind), 20), 2.0);
  }
}

TEST(Schedule, FallsToTheSmallestRateAtTheLastStep) {
  for (const auto kind : {ScheduleKind::kCosine, ScheduleKind::kWsd, ScheduleKind::kLinear})
    EXPECT_NEAR(learning_rate(schedule(kind), 100), 0.2, 1e-12);
}

TEST(Schedule, CosineByHand) {
  // Half way: the mean of 2 and 0.2. A quarter: 0.2 + 1.8 (1 + cos(pi/4)) / 2.
  EXPECT_NEAR(learning_rate(schedule(ScheduleKind::kCosine), 60), 1.1, 1e-12);
  EXPECT_NEAR(learning_rate(schedule(ScheduleKind::kCosine), 40), 1.7363961030678928, 1e-12);
}

TEST(Schedule, LinearByHand) {
  EXPECT_NEAR(learning_rate(schedule(ScheduleKind::kLinear), 60), 1.1, 1e-12);
  EXPECT_NEAR(learning_rate(schedule(ScheduleKind::kLinear), 28), 1.82, 1e-12);
}

TEST(Schedule, WsdStaysThenDecays) {
  EXPECT_DOUBLE_EQ(learning_rate(schedule(ScheduleKind::kWsd), 75), 2.0);
  EXPECT_NEAR(learning_rate(schedule(ScheduleKind::kWsd), 85), 2.0 - 1.8 * 0.4, 1e-12);
}

TEST(Schedule, WithoutWarmupOrRoomToDecay) {
  Schedule s = schedule(ScheduleKind::kCosine);
  s.warmup = 0;
  EXPECT_NEAR(learning_rate(s, 50), 1.1, 1e-12);
  s.warmup = s.steps = 1;
  EXPECT_DOUBLE_EQ(learning_rate(s, 1), 2.0) << "a run that is all warmup ends at the peak";
  Schedule wsd = schedule(ScheduleKind::kWsd);
  wsd.decay_share = 1.0;
  EXPECT_DOUBLE_EQ(learning_rate(wsd, 20), 2.0) << "a decay does not begin inside the warmup";
  wsd.decay_share = 0.0;
  EXPECT_DOUBLE_EQ(learning_rate(wsd, 99), 2.0);
}

TEST(Schedule, NamesParse) {
  for (const std::string& name : schedule_names()) EXPECT_NO_THROW(parse_schedule(name));
  EXPECT_THROW(parse_schedule("constant"), Error);
}

}  // namespace
}  // namespace fathom
