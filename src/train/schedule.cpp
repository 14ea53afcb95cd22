#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace fathom {

std::vector<std::string> schedule_names() { return {"cosine", "wsd", "linear"}; }

ScheduleKind parse_schedule(const std::string& name) {
  if (name == "cosine") return ScheduleKind::kCosine;
  if (name == "wsd") return ScheduleKind::kWsd;
  if (name == "linear") return ScheduleKind::kLinear;
  usage_error("unknown schedule '" + name + "'", "known: cosine, wsd, linear");
}

double learning_rate(const Schedule& s, uint64_t step) {
  const auto at = static_cast<double>(step), steps = static_cast<double>(s.steps);
  const auto warmup = static_cast<double>(s.warmup);
  if (step < s.warmup) return s.peak * at / warmup;
  const double lowest = s.peak * s.min_ratio;
  const auto between = [](double begin, double end, double x) {
    return end > begin ? std::clamp((x - begin) / (end - begin), 0.0, 1.0) : 0.0;
  };
  const double p = between(warmup, steps, at);
  switch (s.kind) {
    case ScheduleKind::kCosine:
      return lowest + (s.peak - lowest) * 0.5 * (1.0 + std::cos(std::numbers::pi * p));
    case ScheduleKind::kLinear:
      return s.peak + (lowest - s.peak) * p;
    case ScheduleKind::kWsd:
      // A decay that would reach into the warmup begins at its end.
      return s.peak + (lowest - s.peak) * between(std::max(warmup, steps * (1.0 - s.decay_share)), steps, at);
  }
  fail("internal: a schedule without a formula");
}

}  // namespace fathom
