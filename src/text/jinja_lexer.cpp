#include "text/jinja_lexer.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "text/jinja_runtime.h"
#include "text/jinja_text.h"
#include "text/unicode.h"

namespace fathom::jinja {
namespace {

/// Line ends as \n, without the last one.
std::string normalize_lines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool is_digit_char(char c) { return c >= '0' && c <= '9'; }
bool is_sign(char c) { return c == '-' || c == '+'; }

size_t space_length(std::string_view text) {
  return text.size() - strip(text, std::nullopt, true, false).size();
}

int hex_value(char c) {
  if (is_digit_char(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalize_lines(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      const size_t begin = next_tag();
      if (begin == std::string::npos) {
        add(TokenType::kData, source_.substr(at_));
        advance(source_.size());
        break;
      }
      const char kind = source_[begin + 1];
      const char sign = begin + 2 < source_.size() && is_sign(source_[begin + 2]) ? source_[begin + 2] : '\0';
      add_data(begin, sign, kind != '{');
      const size_t inside = begin + (sign ? 3 : 2);
      if (kind == '#') {
        skip_comment(inside);
      } else if (const size_t raw = kind == '%' ? after_word(inside, "raw") : std::string::npos;
                 raw != std::string::npos) {
        read_raw(raw);
      } else {
        add(kind == '{' ? TokenType::kOutputBegin : TokenType::kTagBegin, {});
        advance(inside);
        read_tag(kind == '{' ? "}}" : "%}");
      }
    }
    add(TokenType::kEnd, {});
    return std::move(tokens_);
  }

 private:
  std::string_view rest(size_t from) const { return std::string_view(source_).substr(from); }
  void add(TokenType type, std::string text) { tokens_.push_back({type, std::move(text), line_}); }

  void advance(size_t to) {
    line_ += static_cast<uint32_t>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                              source_.begin() + static_cast<ptrdiff_t>(to), '\n'));
    line_starting_ = to > 0 && to > at_ && source_[to - 1] == '\n';
    at_ = to;
  }

  size_t next_tag() const {
    for (size_t i = at_; i + 1 < source_.size(); ++i) {
      if (source_[i] == '{' && (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#'))
        return i;
    }
    return std::string::npos;
  }

  /// The text in front of a tag at `end`, less what the tag's sign, or lstrip_blocks, takes from it.
  void add_data(size_t end, char sign, bool is_block) {
    std::string_view text = rest(at_).substr(0, end - at_);
    if (sign == '-') {
      text = strip(text, std::nullopt, false, true);
    } else if (sign != '+' && is_block) {
      const size_t feed = text.rfind('\n');
      const size_t line_begin = feed == std::string_view::npos ? 0 : feed + 1;
      if ((line_begin > 0 || line_starting_) &&
          space_length(text.substr(line_begin)) == text.size() - line_begin)
        text = text.substr(0, line_begin);
    }
    if (!text.empty()) add(TokenType::kData, std::string(text));
    advance(end);
  }

  /// Where a tag ends that begins to end at `at` ("-%}", "+%}", "%}"), with the white space that goes with
  /// it; npos where none ends there.
  size_t tag_end(size_t at, std::string_view mark) const {
    const bool is_output = mark == "}}";
    const char sign = at < source_.size() && is_sign(source_[at]) ? source_[at] : '\0';
    if (sign == '+' && is_output) return std::string::npos;
    const size_t begin = at + (sign ? 1 : 0);
    if (!rest(std::min(begin, source_.size())).starts_with(mark)) return std::string::npos;
    const size_t end = begin + mark.size();
    if (sign == '-') return end + space_length(rest(end));
    return !sign && !is_output && rest(end).starts_with('\n') ? end + 1 : end;
  }

  void skip_comment(size_t inside) {
    const size_t mark = source_.find("#}", inside);
    if (mark == std::string::npos) fail_at(line_, "a comment {# has no end #}");
    advance(tag_end(mark > inside && is_sign(source_[mark - 1]) ? mark - 1 : mark, "#}"));
  }

  /// Behind white space, the word and more white space; npos where another word stands there.
  size_t after_word(size_t at, std::string_view word) const {
    at += space_length(rest(at));
    if (!rest(at).starts_with(word)) return std::string::npos;
    at += word.size();
    at += space_length(rest(at));
    return tag_end(at, "%}") == std::string::npos ? std::string::npos : at;
  }

  /// {% raw %}...{% endraw %}; `end` is where the first of the two begins to end.
  void read_raw(size_t end) {
    const bool strips = source_[end] == '-';
    advance(strips ? tag_end(end, "%}") : end + (source_[end] == '+' ? 3 : 2));
    for (size_t at = at_; (at = source_.find("{%", at)) != std::string::npos; ++at) {
      const char sign = at + 2 < source_.size() && is_sign(source_[at + 2]) ? source_[at + 2] : '\0';
      const size_t word = after_word(at + (sign ? 3 : 2), "endraw");
      if (word == std::string::npos) continue;
      add_data(at, sign, true);
      return advance(tag_end(word, "%}"));
    }
    fail_at(line_, "{% raw %} has no {% endraw %}");
  }

  void read_tag(std::string_view end_mark) {
    const uint32_t begin_line = line_;
    while (true) {
      if (open_.empty()) {
        if (const size_t end = tag_end(at_, end_mark); end != std::string::npos) {
          add(end_mark == "}}" ? TokenType::kOutputEnd : TokenType::kTagEnd, {});
          return advance(end);
        }
      }
      if (at_ >= source_.size()) fail_at(begin_line, fmt::format("a tag has no end {}", end_mark));
      if (const size_t spaces = space_length(rest(at_)))
        advance(at_ + spaces);
      else
        read_token();
    }
  }

  void read_token() {
    const char c = source_[at_];
    if (is_digit_char(c)) return read_number();
    if (c == '\'' || c == '"') return read_string(c);
    const CodePoint first = first_code_point(rest(at_));
    if (char_kinds(first.value) & kWordChar) return read_name();
    read_operator();
  }

  void read_name() {
    size_t end = at_;
    while (end < source_.size()) {
      const CodePoint c = first_code_point(rest(end));
      if (!(char_kinds(c.value) & kWordChar)) break;
      end += c.length;
    }
    add(TokenType::kName, source_.substr(at_, end - at_));
    advance(end);
  }

  size_t after_digits(size_t at) const {
    while (at < source_.size() &&
           (is_digit_char(source_[at]) ||
            (source_[at] == '_' && at + 1 < source_.size() && is_digit_char(source_[at + 1]))))
      ++at;
    return at;
  }

  void read_number() {
    size_t end = after_digits(at_);
    bool is_float = false;
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';  // x.0.1: items, not a float
    const auto digit_at = [&](size_t i) { return i < source_.size() && is_digit_char(source_[i]); };
    if (!after_dot) {
      if (end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
        end = after_digits(end + 1);
        is_float = true;
      }
      if (end < source_.size() && (source_[end] | 0x20) == 'e') {
        const size_t exponent = end + 1 + (end + 1 < source_.size() && is_sign(source_[end + 1]) ? 1 : 0);
        if (digit_at(exponent)) {
          end = after_digits(exponent);
          is_float = true;
        }
      }
    }
    std::string digits = source_.substr(at_, end - at_);
    std::erase(digits, '_');
    if (!is_float && digits.size() > 1 && digits[0] == '0' &&
        digits.find_first_not_of('0') != std::string::npos)
      fail_at(line_, "the number " + digits + " begins with a zero");
    add(is_float ? TokenType::kFloat : TokenType::kInteger, std::move(digits));
    advance(end);
  }

  void read_string(char quote) {
    std::string text;
    size_t at = at_ + 1;
    while (at < source_.size() && source_[at] != quote) {
      if (source_[at] == '\\' && at + 1 < source_.size())
        at = read_escape(at, text);
      else
        text += source_[at++];
    }
    if (at >= source_.size()) fail_at(line_, "a string has no end");
    add(TokenType::kString, std::move(text));
    advance(at + 1);
  }

  /// Python's escapes; one that it does not know stays as it is.
  size_t read_escape(size_t at, std::string& text) {
    const char c = source_[at + 1];
    constexpr std::string_view kNames = "abfnrtv\\'\"", kValues = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t i = kNames.find(c); i != std::string_view::npos) {
      text += kValues[i];
      return at + 2;
    }
    if (c == '\n') return at + 2;
    if (c >= '0' && c <= '7') {
      uint32_t value = 0;
      size_t end = at + 1;
      for (; end < source_.size() && end < at + 4 && source_[end] >= '0' && source_[end] <= '7'; ++end)
        value = value * 8 + static_cast<uint32_t>(source_[end] - '0');
      append_utf8(text, value);
      return end;
    }
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (c == 'N') fail_at(line_, "the escape \\N{...} is not supported");
    if (digits == 0) {
      text += '\\';
      return at + 1;
    }
    uint32_t value = 0;
    for (size_t i = 0; i < digits; ++i) {
      const int digit = at + 2 + i < source_.size() ? hex_value(source_[at + 2 + i]) : -1;
      if (digit < 0) fail_at(line_, fmt::format("the escape \\{} needs {} hexadecimal digits", c, digits));
      value = value << 4 | static_cast<uint32_t>(digit);
    }
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
      fail_at(line_,
              fmt::format("the escape \\{} stands for no character", source_.substr(at + 1, digits + 1)));
    append_utf8(text, value);
    return at + 2 + digits;
  }

  void read_operator() {
    static constexpr std::array<std::string_view, 6> kPairs = {"//", "**", "==", "!=", ">=", "<="};
    const auto pair = std::find(kPairs.begin(), kPairs.end(), rest(at_).substr(0, 2));
    const std::string text(rest(at_).substr(0, pair == kPairs.end() ? 1 : 2));
    if (text.size() == 1 && std::string_view("+-*/%~[](){}<>=.:|,;").find(text) == std::string_view::npos) {
      const std::string_view character = rest(at_).substr(0, first_code_point(rest(at_)).length);
      fail_at(line_, fmt::format("unexpected character '{}'", character));
    }
    if (const size_t opening = std::string_view("([{").find(text); opening != std::string_view::npos) {
      open_ += ")]}"[opening];
    } else if (std::string_view(")]}").find(text) != std::string_view::npos) {
      if (open_.empty()) fail_at(line_, "unexpected '" + text + "'");
      if (open_.back() != text[0])
        fail_at(line_, fmt::format("'{}' where '{}' is wanted", text, open_.back()));
      open_.pop_back();
    }
    add(TokenType::kOperator, text);
    advance(at_ + text.size());
  }

  std::string source_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  bool line_starting_ = true;  // the last thing read ended in a line feed
  std::string open_;           // closing brackets that are wanted
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace fathom::jinja
