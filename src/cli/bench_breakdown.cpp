#include "cli/bench_breakdown.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace fathom::cli {

using nlohmann::json;

double Roofline::seconds(double flop, double bytes) const {
  return std::max(flop / flops, bytes / bandwidth);
}

json report_breakdown(const Profile& profile, double step_seconds, size_t steps, const Roofline& roof) {
  std::vector<ProfileEntry> entries = profile.entries();
  const double per_step = 1.0 / static_cast<double>(steps);
  ProfileEntry other{.name = "other", .seconds = step_seconds / per_step};
  for (const ProfileEntry& e : entries) other.seconds -= e.seconds;
  entries.push_back(other);
  std::stable_sort(entries.begin(), entries.end(),
                   [](const ProfileEntry& a, const ProfileEntry& b) { return a.seconds > b.seconds; });

  fmt::print("{:<20} {:>7} {:>10} {:>6} {:>9} {:>8} {:>10} {:>9}\n", "kind", "calls", "ms", "share", "GFLOP",
             "GB", "roof ms", "of roof");
  json table = json::array();
  double roof_total = 0;
  for (const ProfileEntry& e : entries) {
    const double seconds = e.seconds * per_step, flop = e.flop * per_step, bytes = e.bytes * per_step;
    const double least = roof.seconds(flop, bytes), share = seconds / step_seconds;
    const double fraction = seconds > 0 ? least / seconds : 0.0;
    const double calls = static_cast<double>(e.calls) * per_step;
    roof_total += least;
    fmt::print("{:<20} {:>7.0f} {:>10.2f} {:>5.1f}% {:>9.1f} {:>8.2f} {:>10.2f} {:>8.0f}%\n", e.name, calls,
               1e3 * seconds, 100 * share, flop / 1e9, bytes / 1e9, 1e3 * least, 100 * fraction);
    table.push_back({{"kind", std::string(e.name)},
                     {"seconds", seconds},
                     {"share", share},
                     {"calls", calls},
                     {"flop", flop},
                     {"bytes", bytes},
                     {"roofline_seconds", least},
                     {"fraction_of_roofline", fraction}});
  }
  fmt::print("{:<20} {:>7} {:>10.2f} {:>5.0f}% {:>9} {:>8} {:>10.2f} {:>8.0f}%\n", "all", "",
             1e3 * step_seconds, 100.0, "", "", 1e3 * roof_total, 100 * roof_total / step_seconds);
  return table;
}

}  // namespace fathom::cli
