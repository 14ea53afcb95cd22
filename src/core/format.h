#pragma once
// Counts, sizes and times for people: the same on the terminal, in logs and on pages, whatever the locale.
// And counts as people write them.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fathom {

/// "" for NaN, three significant digits with a unit above 10,000: "512", "11.4M", "2.20B".
std::string count_text(double n);

/// "5000", "1.5k", "2.2B": K, M, G or B, and T, small or capital, are powers of 1000. Nothing where `text` is
/// none, or no finite one.
std::optional<double> parse_count(std::string_view text);
/// The same of a whole number, with all of its 64 bits; nothing where it is negative or has a fraction
/// ("1.5").
std::optional<uint64_t> parse_whole_count(std::string_view text);

/// Binary units: "512 B", "1.50 GiB".
std::string bytes_text(double bytes);

/// "42s", "3m 07s", "2h 05m".
std::string seconds_text(double seconds);

}  // namespace fathom
