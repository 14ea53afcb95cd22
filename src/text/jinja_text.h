#pragma once
// Python's string methods on valid UTF-8, counted in code points as Python counts.
//
// Where we depart from Python: upper case is Unicode's simple mapping (and SS for a sharp s), lower case has
// no rule for a sigma at a word's end.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::jinja {

/// str.isspace of one code point.
bool is_python_space(uint32_t code_point);
bool is_upper(uint32_t code_point);
bool is_lower(uint32_t code_point);
bool is_alpha(uint32_t code_point);
bool is_digit(uint32_t code_point);

/// Number of code points.
size_t text_length(std::string_view text);
/// Byte offset of code point `index`, the end where there are fewer.
size_t byte_offset(std::string_view text, size_t index);
/// The text as one string a code point.
std::vector<std::string_view> characters(std::string_view text);
/// Whether `test` holds for all code points, and there is one.
bool all_characters(std::string_view text, const std::function<bool(uint32_t)>& test);

/// What is left when `chars` (nothing: white space) are taken off the ends.
std::string_view strip(std::string_view text, const std::optional<std::string>& chars, bool left, bool right);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
/// str.title, and the filter of that name, which begins words elsewhere.
std::string title_method(std::string_view text);
std::string title_filter(std::string_view text);

/// At most `count` replacements (negative: all).
std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t count);

/// str.split and str.rsplit at `separator` (nothing: runs of white space), at most `count` times (negative:
/// all). The separator is not empty.
std::vector<std::string> split(std::string_view text, const std::optional<std::string>& separator,
                               int64_t count, bool from_right);
/// str.splitlines, without the ends of lines.
std::vector<std::string> split_lines(std::string_view text);

/// repr of a string: in single quotes, or double ones where it has single ones alone.
std::string quoted(std::string_view text);

}  // namespace fathom::jinja
