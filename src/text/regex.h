#pragma once
// The regular expressions of a tokenizer.json, on PCRE2 with its JIT.
//
// `tokenizers` matches with Oniguruma in its Ruby syntax; the pattern is rewritten where PCRE2 means
// something else by the same characters (regex_syntax.cpp), and refused where there is no counterpart.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// A stretch [begin, end) of a text, and whether a pattern matched it.
struct Span {
  size_t begin, end;
  bool match;
};

/// What matching needs beside the pattern; one thread's at a time, for any number of patterns.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();

 private:
  friend class Regex;
  struct State;
  std::unique_ptr<State> state_;
};

class Regex {
 public:
  /// `pattern` in Oniguruma's Ruby syntax. Errors: Error where it does not compile or holds a construct that
  /// is not supported.
  explicit Regex(std::string_view pattern);
  Regex(Regex&&) noexcept;
  ~Regex();

  /// Cuts `text` (valid UTF-8) into matches and what lies between them, in order, into `spans` (cleared
  /// first). An empty match gives an empty span. Errors: Error where the search exceeds its limits on a
  /// hostile pattern.
  void find_all(std::string_view text, RegexScratch& scratch, std::vector<Span>& spans) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The PCRE2 pattern that means what `pattern` means to Oniguruma (Ruby syntax); with `younger` for the
/// characters of Unicode 15 and 16 as well. Errors: Error naming the construct that is not supported.
std::string pcre2_pattern(std::string_view pattern, bool younger = false);

/// `text` as a pattern that matches just it.
std::string escape_regex(std::string_view text);

}  // namespace fathom
