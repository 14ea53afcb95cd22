#pragma once
// Standard errors as the terminal has them.

#include <cmath>
#include <string>

#include <fmt/format.h>

namespace fathom::cli {

/// Four decimals; "-" where there is none, such as that of a single sequence.
inline std::string stderr_text(double value) {
  return std::isfinite(value) ? fmt::format("{:.4f}", value) : "-";
}

}  // namespace fathom::cli
