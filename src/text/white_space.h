#pragma once
// White space as Python's str methods see it (str.isspace: Unicode's White_Space and the separators U+001C to
// U+001F), since the requests of evaluation are defined by Python programs.

#include <cstddef>
#include <string_view>

namespace fathom {

/// `text` (valid UTF-8) without white space at its end; at its start; at both.
std::string_view strip_end(std::string_view text);
std::string_view strip_start(std::string_view text);
std::string_view strip(std::string_view text);

/// The number of pieces that str.split() cuts `text` (valid UTF-8) into.
size_t count_words(std::string_view text);

/// The number of code points of `text` (valid UTF-8): Python's len().
size_t count_code_points(std::string_view text);

}  // namespace fathom
