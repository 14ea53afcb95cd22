#include "core/format.h"

#include <cmath>

#include <fmt/format.h>

namespace fathom {

std::string count_text(double n) {
  if (std::isnan(n)) return {};
  if (n < 1e4) return fmt::format("{:.0f}", n);
  const char* units[] = {"k", "M", "B", "T"};
  size_t unit = 0;
  // 999.5 and above would print as 1000 (or 1e+03): it belongs to the next unit.
  for (n /= 1e3; n >= 999.5 && unit < 3; n /= 1e3) ++unit;
  return fmt::format("{:.{}f}{}", n, n < 9.995 ? 2 : n < 99.95 ? 1 : 0, units[unit]);
}

std::string bytes_text(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 2, units[unit]);
}

std::string seconds_text(double seconds) {
  const auto s = static_cast<long long>(seconds + 0.5);
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m {:02}s", s / 60, s % 60);
  return fmt::format("{}h {:02}m", s / 3600, s / 60 % 60);
}

}  // namespace fathom
