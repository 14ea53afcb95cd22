#include "report/format.h"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace fathom {

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
