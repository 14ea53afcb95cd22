#include "text/white_space.h"

#include <algorithm>

#include "text/unicode.h"

namespace fathom {
namespace {

bool is_space(uint32_t code_point) {
  return (code_point >= 0x1c && code_point <= 0x1f) || (char_kinds(code_point) & kWhitespace) != 0;
}

}  // namespace

std::string_view strip_end(std::string_view text) {
  while (!text.empty()) {
    const size_t last = last_character(text);
    if (!is_space(first_code_point(text.substr(last)).value)) break;
    text = text.substr(0, last);
  }
  return text;
}

std::string_view strip_start(std::string_view text) {
  while (!text.empty()) {
    const CodePoint first = first_code_point(text);
    if (!is_space(first.value)) break;
    text.remove_prefix(first.length);
  }
  return text;
}

std::string_view strip(std::string_view text) { return strip_start(strip_end(text)); }

size_t count_words(std::string_view text) {
  size_t words = 0;
  for (bool inside = false; !text.empty();) {
    const CodePoint first = first_code_point(text);
    const bool space = is_space(first.value);
    if (!space && !inside) ++words;
    inside = !space;
    text.remove_prefix(first.length);
  }
  return words;
}

size_t count_code_points(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace fathom
