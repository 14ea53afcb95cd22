#include "report/format.h"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

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

std::string number_text(double value, int digits) {
  return std::isnan(value) ? std::string() : fmt::format("{:.{}g}", value, digits);
}

std::string with_error(double value, double error, int decimals) {
  if (std::isnan(value)) return {};
  if (std::isnan(error)) return fmt::format("{:.{}f}", value, decimals);
  return fmt::format("{:.{}f} +- {:.{}f}", value, decimals, error, decimals);
}

std::string valid_utf8(const std::string& text) {
  const auto replace = nlohmann::json::error_handler_t::replace;
  return nlohmann::json::parse(nlohmann::json(text).dump(-1, ' ', false, replace)).get<std::string>();
}

}  // namespace fathom
