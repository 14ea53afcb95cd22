#pragma once
// Values with their errors for people, the same in the terminal and on the page, whatever the locale.

#include <string>

#include "core/format.h"

namespace fathom {

/// "" for NaN, else `digits` significant digits: "0.0123", "2210", "4.56e+08".
std::string number_text(double value, int digits);

/// "25.43 +- 0.21"; without the second half where `error` is NaN, "" where `value` is. `decimals` after the
/// point.
std::string with_error(double value, double error, int decimals);

/// `text` with the bytes that are not UTF-8 replaced by U+FFFD: JSON and HTML need it, a folder's name may
/// not have it.
std::string valid_utf8(const std::string& text);

}  // namespace fathom
