#pragma once
// UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fathom {

/// Length in bytes (1 to 4) of the valid character that `text` starts with; 0 where it starts with none or is
/// empty.
size_t utf8_char_length(std::string_view text);

/// Offset of the first byte that does not belong to a valid character; std::string_view::npos where all are
/// valid.
size_t find_invalid_utf8(std::string_view text);

/// The largest n <= limit such that text[0, n) does not end inside a character (for valid UTF-8).
size_t utf8_floor(std::string_view text, size_t limit);

}  // namespace fathom
