#pragma once
// The learning rate, a pure function of the step: a resumed run needs no state for it.

#include <cstdint>
#include <string>
#include <vector>

namespace fathom {

enum class ScheduleKind { kCosine, kWsd, kLinear };

struct Schedule {
  ScheduleKind kind = ScheduleKind::kCosine;
  double peak = 1e-3;        ///< learning rate after warmup
  double min_ratio = 0.1;    ///< rate of the last step, as a share of the peak
  uint64_t steps = 1;        ///< of the whole run
  uint64_t warmup = 0;       ///< steps
  double decay_share = 0.2;  ///< wsd: share of all steps, at the end, over which the rate falls
};

std::vector<std::string> schedule_names();
/// "cosine", "wsd", "linear". Errors: Error (usage) on another name.
ScheduleKind parse_schedule(const std::string& name);

/// The rate of update `step`, 1 to steps. Warmup: peak * step / warmup. Then, with p running from 0 at the
/// end of warmup to 1 at the last step: cosine, min + (peak - min) (1 + cos(pi p)) / 2 (Loshchilov & Hutter
/// 2016, arXiv:1608.03983, one period); linear, peak + (min - peak) p; wsd, the peak until the last
/// decay_share of all steps, then linear to min (Hu et al. 2024, arXiv:2404.06395, whose decay is
/// exponential; linear is Haegele et al. 2024, arXiv:2405.18392).
double learning_rate(const Schedule& schedule, uint64_t step);

}  // namespace fathom
