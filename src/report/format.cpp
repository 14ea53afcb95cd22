#include "report/format.h"

#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/json.h"

namespace fathom {

std::string number_text(double value, int digits) {
  if (std::isnan(value)) return {};
  const std::string text = fmt::format("{:.{}g}", value, digits);
  // "2210" is easier to read than "2.21e+03".
  const bool plain = std::abs(value) < 1e6 && text.find("e+") != std::string::npos;
  if (!plain) return text;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return fmt::format("{:.0f}", value);
}

std::string with_error(double value, double error, int decimals) {
  if (std::isnan(value)) return {};
  if (std::isnan(error)) return fmt::format("{:.{}f}", value, decimals);
  return fmt::format("{:.{}f} +- {:.{}f}", value, decimals, error, decimals);
}

std::string valid_utf8(const std::string& text) {
  const auto replace = nlohmann::json::error_handler_t::replace;
  return parse_json(nlohmann::json(text).dump(-1, ' ', false, replace)).get<std::string>();
}

}  // namespace fathom
