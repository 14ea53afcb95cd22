// Oniguruma's Ruby syntax in PCRE2's. Sources: kkos/oniguruma, doc/RE and doc/UNICODE_PROPERTIES;
// pcre2pattern(3).

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>

#include "core/error.h"
#include "text/regex.h"
#include "text/unicode_younger.h"

namespace fathom {
namespace {

// As members of a character class. PCRE2's \s holds U+180E, which is no White_Space; its \w lacks marks and
// connectors.
constexpr std::string_view kSpaces = "\\t-\\r\\x{85}\\p{Z}";
constexpr std::string_view kWord =
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"  // Oniguruma's, Latin-1's
                                                                             // fractions too
    "\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}";
constexpr std::string_view kHex = "0-9a-fA-F";

std::string simple_name(std::string_view name) {
  std::string simple;
  for (const char c : name) {
    if (c != ' ' && c != '_' && c != '-')
      simple += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return simple;
}

struct LongName {
  std::string_view name, category;
};
constexpr LongName kLongNames[] = {{"letter", "L"},
                                   {"mark", "M"},
                                   {"number", "N"},
                                   {"punctuation", "P"},
                                   {"symbol", "S"},
                                   {"separator", "Z"},
                                   {"other", "C"},
                                   {"uppercaseletter", "Lu"},
                                   {"lowercaseletter", "Ll"},
                                   {"titlecaseletter", "Lt"},
                                   {"modifierletter", "Lm"},
                                   {"otherletter", "Lo"},
                                   {"nonspacingmark", "Mn"},
                                   {"decimalnumber", "Nd"},
                                   {"punct", "P"},
                                   {"digit", "Nd"}};
constexpr std::string_view kBinary[] = {"any",
                                        "alphabetic",
                                        "alpha",
                                        "emoji",
                                        "ideo",
                                        "ideographic",
                                        "emojipresentation",
                                        "extendedpictographic",
                                        "uppercase",
                                        "upper",
                                        "lowercase",
                                        "lower"};

/// The name that PCRE2 gives a property; a script's has a prefix, since PCRE2's bare one means
/// Script_Extensions.
std::string property_name(std::string_view name) {
  const std::string simple = simple_name(name);
  for (const LongName& l : kLongNames) {
    if (l.name == simple) return std::string(l.category);
  }
  if (simple == "space" || simple == "whitespace") return "White_Space";
  if (simple.size() <= 2 || std::find(std::begin(kBinary), std::end(kBinary), simple) != std::end(kBinary))
    return std::string(name);
  return "sc:" + std::string(name);
}

/// The characters that Unicode 15 and 16 added to a category ("L", "Nd") or to the script Han, as members of
/// a class.
std::string younger_ranges(std::string_view name) {
  if (name == "sc:Han") return "\\x{2B739}\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}";
  std::string ranges;
  for (const YoungerRange& range : kYoungerRanges) {
    if (range.category.starts_with(name))
      ranges += fmt::format("\\x{{{:X}}}-\\x{{{:X}}}", range.first, range.last);
  }
  return ranges;
}

std::string younger_word() {
  std::string ranges;
  for (const char* name : {"L", "M", "Nd", "Nl", "Pc"}) ranges += younger_ranges(name);
  return ranges;
}

class Rewriter {
 public:
  Rewriter(std::string_view pattern, bool younger) : in_(pattern), younger_(younger) {}

  std::string run() {
    while (at_ < in_.size()) {
      switch (in_[at_]) {
        case '\\':
          escape();
          break;
        case '[':
          open_bracket();
          break;
        case ']':
          close_bracket();
          break;
        case '(':
          group();
          break;
        case '{':
          repeat();
          break;
        case '&':
          if (depth_ > 0 && in_.substr(at_).starts_with("&&")) refuse("&& in a character class");
          [[fallthrough]];
        default:
          out_ += in_[at_++];
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    fail("a pattern has " + what + ", which is not supported: '" + std::string(in_.substr(0, 60)) + "'");
  }

  void members(const std::string& members, bool negated) {
    if (depth_ == 0) {
      out_.append(negated ? "[^" : "[").append(members).append("]");
    } else if (!negated) {
      out_ += members;
    } else {
      refuse("a negated shorthand in a character class");
    }
  }

  void escape() {
    if (at_ + 1 >= in_.size()) refuse("a \\ at its end");
    const char c = in_[at_ + 1];
    at_ += 2;
    switch (c) {
      case 's':
        return members(std::string(kSpaces), false);
      case 'S':  // [\s\S] is every character whatever \S is exactly
        if (depth_ > 0) {
          out_ += "\\S";
          return;
        }
        return members(std::string(kSpaces), true);
      case 'w':
      case 'W':
        return members(std::string(kWord) + (younger_ ? younger_word() : ""), c == 'W');
      case 'h':
      case 'H':
        return members(std::string(kHex), c == 'H');
      case 'd':
      case 'D':
        return category("Nd", c == 'D');
      case 'u':
        return unicode_escape();
      case 'p':
      case 'P':
        return property(c);
      default:
        out_ += '\\';
        out_ += c;
    }
  }

  void unicode_escape() {
    const std::string_view digits = in_.substr(at_, 4);
    if (digits.size() < 4 ||
        !std::all_of(digits.begin(), digits.end(), [](unsigned char d) { return std::isxdigit(d); }))
      refuse("a \\u without four digits");
    out_.append("\\x{").append(digits).append("}");
    at_ += 4;
  }

  void property(char letter) {
    const size_t end = in_.find('}', at_);
    if (at_ >= in_.size() || in_[at_] != '{' || end == std::string_view::npos) refuse("a \\p without {name}");
    std::string_view name = in_.substr(at_ + 1, end - at_ - 1);
    const bool negated = name.starts_with('^') != (letter == 'P');
    if (name.starts_with('^')) name.remove_prefix(1);
    at_ = end + 1;
    category(property_name(name), negated);
  }

  void category(const std::string& name, bool negated) {
    const std::string younger = younger_ ? younger_ranges(name) : "";
    if (!younger.empty() && !(negated && depth_ > 0)) return members("\\p{" + name + "}" + younger, negated);
    out_.append(negated ? "\\P{" : "\\p{").append(name).append("}");
  }

  // Sets in sets are unions: [a[bc]] is [abc].
  void open_bracket() {
    if (depth_ > 0 && in_.substr(at_).starts_with("[:")) {
      if (const size_t end = in_.find(":]", at_ + 2); end != std::string_view::npos) {
        out_ += in_.substr(at_, end + 2 - at_);
        at_ = end + 2;
        return;
      }
    }
    if (++depth_ > 1) {
      if (in_.substr(at_).starts_with("[^")) refuse("a negated set in a character class");
      ++at_;
      return;
    }
    out_ += in_[at_++];
    if (at_ < in_.size() && in_[at_] == '^') out_ += in_[at_++];
    if (at_ < in_.size() && in_[at_] == ']') {  // a literal one
      out_ += "\\]";
      ++at_;
    }
  }

  void close_bracket() {
    ++at_;
    if (depth_ == 0)
      out_ += "\\]";
    else if (--depth_ == 0)
      out_ += ']';
  }

  /// (?m) lets the dot match line feeds in Ruby, which is (?s) here; ^ and $ are about lines in any case.
  void group() {
    out_ += in_[at_++];
    if (depth_ > 0 || at_ >= in_.size() || in_[at_] != '?') return;
    size_t end = at_ + 1;
    while (end < in_.size() && (in_[end] == 'i' || in_[end] == 'm' || in_[end] == 'x' || in_[end] == '-'))
      ++end;
    if (end >= in_.size() || (in_[end] != ':' && in_[end] != ')')) return;
    for (; at_ < end; ++at_) out_ += in_[at_] == 'm' ? 's' : in_[at_];
  }

  void repeat() {
    size_t end = at_ + 1;
    while (end < in_.size() && (std::isdigit(static_cast<unsigned char>(in_[end])) || in_[end] == ',')) ++end;
    if (depth_ > 0 || end >= in_.size() || in_[end] != '}' || end == at_ + 1) {
      out_ += in_[at_++];
      return;
    }
    if (end + 1 < in_.size() && in_[end + 1] == '+') refuse("a + behind {n,m}");  // possessive only in PCRE2
    out_ += in_[at_ + 1] == ',' ? "{0" : "{";
    out_ += in_.substr(at_ + 1, end - at_);
    at_ = end + 1;
  }

  std::string_view in_;
  bool younger_;
  std::string out_;
  size_t at_ = 0;
  int depth_ = 0;  // of nested character classes
};

}  // namespace

std::string pcre2_pattern(std::string_view pattern, bool younger) { return Rewriter(pattern, younger).run(); }

std::string escape_regex(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::ispunct(static_cast<unsigned char>(c))) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace fathom
