#pragma once
// Counts, sizes and times for people: the same on the terminal, in logs and on pages, whatever the locale.

#include <string>

namespace fathom {

/// "" for NaN, three significant digits with a unit above 10,000: "512", "11.4M", "2.20B".
std::string count_text(double n);

/// Binary units: "512 B", "1.50 GiB".
std::string bytes_text(double bytes);

/// "42s", "3m 07s", "2h 05m".
std::string seconds_text(double seconds);

}  // namespace fathom
