#include "text/regex.h"

#include <mutex>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/error.h"
#include "text/unicode.h"

namespace fathom {
namespace {

constexpr uint32_t kMatchLimit = 10'000'000;  // PCRE2's default; a second or so, then an error
constexpr size_t kJitStack = size_t{32} << 10, kMaxJitStack = size_t{16} << 20;
constexpr size_t kMaxPattern = size_t{64} << 10;

std::string message_of(int error) {
  PCRE2_UCHAR text[160];
  pcre2_get_error_message(error, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

std::string shortened(std::string_view pattern) {
  return "the pattern '" + std::string(pattern.substr(0, 60)) + (pattern.size() > 60 ? "...'" : "'");
}

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};

bool holds_younger(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0xe0) {  // all of them take three bytes or four
      ++at;
      continue;
    }
    const auto [c, length] = first_code_point(text.substr(at));
    if (char_kinds(c) & kYounger) return true;
    at += length;
  }
  return false;
}

using Code = std::unique_ptr<pcre2_code, Freer<pcre2_code_free>>;

Code compile(std::string_view pattern, bool younger) {
  const std::string rewritten = pcre2_pattern(pattern, younger);
  const std::unique_ptr<pcre2_compile_context, Freer<pcre2_compile_context_free>> context(
      pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(rewritten.data()), rewritten.size(),
                          PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
                          context.get()));
  if (!code) fail(shortened(pattern) + " does not compile: " + message_of(error));
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // where it can't, matching is slower
  return code;
}

}  // namespace

struct RegexScratch::State {
  std::unique_ptr<pcre2_match_context, Freer<pcre2_match_context_free>> context{
      pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, Freer<pcre2_jit_stack_free>> stack{
      pcre2_jit_stack_create(kJitStack, kMaxJitStack, nullptr)};
  std::unique_ptr<pcre2_match_data, Freer<pcre2_match_data_free>> match{pcre2_match_data_create(1, nullptr)};
};

RegexScratch::RegexScratch() : state_(std::make_unique<State>()) {
  if (!state_->context || !state_->stack || !state_->match) fail("no memory for regular expressions");
  pcre2_set_match_limit(state_->context.get(), kMatchLimit);
  pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->stack.get());
}
RegexScratch::~RegexScratch() = default;

struct Regex::State {
  std::string pattern;  // as given
  Code code;
  // Knows the characters of Unicode 15 and 16 too, by long lists: compiled for the first text that has one.
  std::once_flag once;
  Code younger;

  const pcre2_code* code_for(std::string_view text) {
    if (!holds_younger(text)) return code.get();
    std::call_once(once, [&] { younger = compile(pattern, true); });
    return younger.get();
  }

  bool match(const pcre2_code* with, std::string_view text, size_t from, RegexScratch::State& scratch) const {
    const int found = pcre2_match(with, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                  PCRE2_NO_UTF_CHECK, scratch.match.get(), scratch.context.get());
    if (found < 0 && found != PCRE2_ERROR_NOMATCH)
      fail(shortened(pattern) + " gives up on a text of " + std::to_string(text.size()) +
               " bytes: " + message_of(found),
           "the text is unusual, or the tokenizer is damaged");
    return found != PCRE2_ERROR_NOMATCH;
  }
};

Regex::Regex(std::string_view pattern) : state_(std::make_unique<State>()) {
  if (pattern.size() > kMaxPattern)
    fail(shortened(pattern) + " is " + std::to_string(pattern.size()) + " bytes long");
  state_->pattern = pattern;
  state_->code = compile(pattern, false);
}
Regex::Regex(Regex&&) noexcept = default;
Regex::~Regex() = default;

void Regex::find_all(std::string_view text, RegexScratch& scratch, std::vector<Span>& spans) const {
  spans.clear();
  const pcre2_code* const code = state_->code_for(text);
  const PCRE2_SIZE* const found = pcre2_get_ovector_pointer(scratch.state_->match.get());
  size_t from = 0, covered = 0;
  for (bool first = true; from <= text.size(); first = false) {
    if (!state_->match(code, text, from, *scratch.state_)) break;
    const size_t begin = found[0], end = found[1];
    if (begin == end && begin == covered && !first) {  // an empty match right behind a match does not count
      from += from < text.size() ? first_code_point(text.substr(from)).length : 1;
      continue;
    }
    if (begin < covered || end < begin) fail(shortened(state_->pattern) + " matches backwards (\\K)");
    if (covered < begin) spans.push_back({covered, begin, false});
    spans.push_back({begin, end, true});
    covered = from = end;
  }
  if (covered < text.size()) spans.push_back({covered, text.size(), false});
}

}  // namespace fathom
