#include "core/format.h"

#include <charconv>
#include <cmath>
#include <limits>

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

std::optional<double> parse_count(std::string_view text) {
  double value = 0, factor = 1;
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && at + 1 == end) {
    constexpr std::string_view kUnits = "kmgtKMGT", kBillions = "bB";
    const size_t unit = kBillions.find(*at) != kBillions.npos ? 2 : kUnits.find(*at);
    if (unit != kUnits.npos) {
      factor = std::pow(1000.0, static_cast<double>(unit % 4 + 1));
      ++at;
    }
  }
  if (error != std::errc() || at != end || !std::isfinite(value)) return {};
  return value * factor;
}

std::optional<uint64_t> parse_whole_count(std::string_view text) {
  uint64_t exact = 0;  // digits alone keep all 64 bits, which a double would round
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), exact);
  if (error == std::errc() && at == text.data() + text.size()) return exact;
  const std::optional<double> value = parse_count(text);
  if (!value || *value < 0 || *value >= static_cast<double>(std::numeric_limits<uint64_t>::max())) return {};
  const double rounded = std::round(*value);  // 2.2 times a billion is off by a bit
  if (std::abs(rounded - *value) > 1e-9 * *value) return {};
  return static_cast<uint64_t>(rounded);
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
