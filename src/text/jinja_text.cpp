#include "text/jinja_text.h"

#include <algorithm>

#include <fmt/format.h>
#include <utf8proc.h>

#include "text/unicode.h"
#include "text/white_space.h"

namespace fathom::jinja {
namespace {

/// Calls fn(code point, its bytes) for each character.
template <class Fn>
void for_each_character(std::string_view text, const Fn& fn) {
  while (!text.empty()) {
    const CodePoint c = first_code_point(text);
    fn(c.value, text.substr(0, c.length));
    text.remove_prefix(c.length);
  }
}

utf8proc_category_t category(uint32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }
bool is_titlecase(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }
bool is_cased(uint32_t c) { return is_upper(c) || is_lower(c) || is_titlecase(c); }

void append_upper(std::string& out, uint32_t c, bool title) {
  constexpr uint32_t kSharpS = 0xdf;
  if (c == kSharpS) {
    out += title ? "Ss" : "SS";
    return;
  }
  const auto code = static_cast<utf8proc_int32_t>(c);
  append_utf8(out, static_cast<uint32_t>(title ? utf8proc_totitle(code) : utf8proc_toupper(code)));
}

bool is_line_end(uint32_t c) {
  return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool is_printable(uint32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return c == ' ';
    default:
      return true;
  }
}

std::vector<std::string> split_at_spaces(std::string_view text, int64_t count) {
  std::vector<std::string> parts;
  text = strip(text, std::nullopt, true, false);
  while (!text.empty()) {
    size_t end = 0;
    if (count >= 0 && static_cast<int64_t>(parts.size()) == count) {
      parts.emplace_back(text);
      break;
    }
    while (end < text.size()) {
      const CodePoint c = first_code_point(text.substr(end));
      if (is_python_space(c.value)) break;
      end += c.length;
    }
    parts.emplace_back(text.substr(0, end));
    text = strip(text.substr(end), std::nullopt, true, false);
  }
  return parts;
}

/// From the right, and so with what is left over in front.
std::vector<std::string> split_at_spaces_from_right(std::string_view text, int64_t count) {
  std::vector<std::string> parts;
  text = strip(text, std::nullopt, false, true);
  while (!text.empty()) {
    if (count >= 0 && static_cast<int64_t>(parts.size()) == count) {
      parts.emplace_back(text);
      break;
    }
    size_t begin = text.size();
    while (begin > 0) {
      const size_t last = last_character(text.substr(0, begin));
      if (is_python_space(first_code_point(text.substr(last)).value)) break;
      begin = last;
    }
    parts.emplace_back(text.substr(begin));
    text = strip(text.substr(0, begin), std::nullopt, false, true);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

bool is_python_space(uint32_t c) { return (c >= 0x1c && c <= 0x1f) || (char_kinds(c) & kWhitespace); }
bool is_upper(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LU; }
bool is_lower(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LL; }
bool is_alpha(uint32_t c) {
  const utf8proc_category_t k = category(c);
  return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}
bool is_digit(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

size_t text_length(std::string_view text) { return count_code_points(text); }

size_t byte_offset(std::string_view text, size_t index) {
  size_t at = 0;
  while (at < text.size() && index-- > 0) at += first_code_point(text.substr(at)).length;
  return at;
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> out;
  for_each_character(text, [&](uint32_t, std::string_view bytes) { out.push_back(bytes); });
  return out;
}

bool all_characters(std::string_view text, const std::function<bool(uint32_t)>& test) {
  bool all = !text.empty();
  for_each_character(text, [&](uint32_t c, std::string_view) { all = all && test(c); });
  return all;
}

std::string_view strip(std::string_view text, const std::optional<std::string>& chars, bool left,
                       bool right) {
  if (!chars) {
    if (left) text = strip_start(text);
    return right ? strip_end(text) : text;
  }
  const auto goes = [&](std::string_view character) { return chars->find(character) != std::string::npos; };
  while (left && !text.empty()) {
    const std::string_view first = text.substr(0, first_code_point(text).length);
    if (!goes(first)) break;
    text.remove_prefix(first.size());
  }
  while (right && !text.empty()) {
    const std::string_view last = text.substr(last_character(text));
    if (!goes(last)) break;
    text.remove_suffix(last.size());
  }
  return text;
}

std::string upper(std::string_view text) {
  std::string out;
  for_each_character(text, [&](uint32_t c, std::string_view) { append_upper(out, c, false); });
  return out;
}

std::string lower(std::string_view text) { return to_lowercase(text); }

std::string capitalize(std::string_view text) {
  std::string out;
  if (text.empty()) return out;
  const CodePoint first = first_code_point(text);
  append_upper(out, first.value, true);
  return out + lower(text.substr(first.length));
}

std::string title_method(std::string_view text) {
  std::string out;
  bool inside = false;
  for_each_character(text, [&](uint32_t c, std::string_view bytes) {
    if (inside)
      out += lower(bytes);
    else
      append_upper(out, c, true);
    inside = is_cased(c);
  });
  return out;
}

std::string title_filter(std::string_view text) {
  std::string out;
  bool inside = false;
  for_each_character(text, [&](uint32_t c, std::string_view bytes) {
    const bool between =
        is_python_space(c) ||
        (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) != std::string_view::npos);
    if (between || !inside)
      append_upper(out, c, false);
    else
      out += lower(bytes);
    inside = !between;
  });
  return out;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t count) {
  std::string out;
  size_t at = 0;
  const auto more = [&] { return count < 0 || count-- > 0; };
  if (from.empty()) {  // Python puts `to` before each character and at the end
    while (more()) {
      out += to;
      if (at == text.size()) return out;
      const size_t length = first_code_point(text.substr(at)).length;
      out += text.substr(at, length);
      at += length;
    }
    return out += text.substr(at);
  }
  for (size_t found; (found = text.find(from, at)) != std::string_view::npos && more();
       at = found + from.size())
    (out += text.substr(at, found - at)) += to;
  return out += text.substr(at);
}

std::vector<std::string> split(std::string_view text, const std::optional<std::string>& separator,
                               int64_t count, bool from_right) {
  if (!separator) return from_right ? split_at_spaces_from_right(text, count) : split_at_spaces(text, count);
  std::vector<std::string> parts;
  const auto more = [&] { return count < 0 || static_cast<int64_t>(parts.size()) < count; };
  if (from_right) {
    for (size_t at; more() && (at = text.rfind(*separator)) != std::string_view::npos;) {
      parts.emplace_back(text.substr(at + separator->size()));
      text = text.substr(0, at);
    }
    parts.emplace_back(text);
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  for (size_t at; more() && (at = text.find(*separator)) != std::string_view::npos;) {
    parts.emplace_back(text.substr(0, at));
    text.remove_prefix(at + separator->size());
  }
  parts.emplace_back(text);
  return parts;
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    size_t end = 0, next = text.size();
    for (; end < text.size();) {
      const CodePoint c = first_code_point(text.substr(end));
      if (is_line_end(c.value)) {
        next = end + (text.substr(end).starts_with("\r\n") ? 2 : c.length);
        break;
      }
      end += c.length;
    }
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(next);
  }
  return lines;
}

std::string quoted(std::string_view text) {
  const char quote =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for_each_character(text, [&](uint32_t c, std::string_view bytes) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\\' || c == static_cast<uint32_t>(quote)) {
      (out += '\\') += static_cast<char>(c);
    } else if (is_printable(c)) {
      out += bytes;
    } else {
      out += c < 0x100     ? fmt::format("\\x{:02x}", c)
             : c < 0x10000 ? fmt::format("\\u{:04x}", c)
                           : fmt::format("\\U{:08x}", c);
    }
  });
  return out + quote;
}

}  // namespace fathom::jinja
