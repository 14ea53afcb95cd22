#include "text/pre_tokenizer.h"

#include <algorithm>

#include "text/normalizer.h"
#include "text/unicode.h"

namespace fathom {
namespace {

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior behavior_of(const std::string& name) {
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  fail("the behavior '" + name + "' of a pre-tokenizer is not known");
}

/// Joins spans as the behavior says (tokenizers, normalizer.rs, NormalizedString::split).
void join(std::vector<Span>& spans, Behavior behavior) {
  if (behavior == Behavior::kIsolated || behavior == Behavior::kRemoved) return;
  const bool backwards = behavior == Behavior::kMergedWithNext;
  if (backwards) std::reverse(spans.begin(), spans.end());
  std::vector<Span> joined;
  bool previous = false;
  for (const Span& span : spans) {
    const bool joins = behavior == Behavior::kContiguous ? span.match == previous : span.match && !previous;
    previous = span.match;
    if (!joins || joined.empty())
      joined.push_back(span);
    else if (backwards)
      joined.back().begin = span.begin;
    else
      joined.back().end = span.end;
  }
  if (backwards) std::reverse(joined.begin(), joined.end());
  spans = std::move(joined);
}

/// Cuts every piece: find(piece, spans) says where the delimiters are.
template <class Find>
void cut(Pieces& pieces, Behavior behavior, bool invert, Find find) {
  std::vector<Pieces::Range> ranges;
  ranges.reserve(pieces.ranges.size() + pieces.text.size() / 5);
  std::vector<Span> spans;
  for (const Pieces::Range& range : pieces.ranges) {
    find(std::string_view(pieces.text).substr(range.begin, range.end - range.begin), spans);
    if (invert) {
      for (Span& span : spans) span.match = !span.match;
    }
    join(spans, behavior);
    for (const Span& span : spans) {
      if (span.begin == span.end || (behavior == Behavior::kRemoved && span.match)) continue;
      ranges.push_back({range.begin + span.begin, range.begin + span.end});
    }
  }
  pieces.ranges = std::move(ranges);
}

/// Puts what edit(piece, is the first, out) appends in the place of each piece.
template <class Edit>
void rewrite(Pieces& pieces, Edit edit) {
  std::string text;
  text.reserve(pieces.text.size() + pieces.text.size() / 2);
  for (Pieces::Range& range : pieces.ranges) {
    const size_t begin = text.size();
    edit(std::string_view(pieces.text).substr(range.begin, range.end - range.begin), range.begin == 0, text);
    range = {begin, text.size()};
  }
  pieces.text = std::move(text);
}

class RegexSplit final : public PreTokenizer {
 public:
  RegexSplit(std::string_view pattern, Behavior behavior, bool invert)
      : regex_(pattern), behavior_(behavior), invert_(invert) {}
  void apply(Pieces& pieces, RegexScratch& scratch) const override {
    cut(pieces, behavior_, invert_,
        [&](std::string_view piece, std::vector<Span>& spans) { regex_.find_all(piece, scratch, spans); });
  }

 private:
  Regex regex_;
  Behavior behavior_;
  bool invert_;
};

/// Delimiters are the characters of which `is_delimiter` is true.
template <class IsDelimiter>
class CharacterSplit final : public PreTokenizer {
 public:
  CharacterSplit(IsDelimiter is_delimiter, Behavior behavior)
      : is_delimiter_(is_delimiter), behavior_(behavior) {}
  void apply(Pieces& pieces, RegexScratch&) const override {
    cut(pieces, behavior_, false, [&](std::string_view piece, std::vector<Span>& spans) {
      spans.clear();
      size_t covered = 0;
      for (size_t at = 0; at < piece.size();) {
        const CodePoint c = first_code_point(piece.substr(at));
        const size_t end = at + c.length;
        if (is_delimiter_(c.value)) {
          if (covered < at) spans.push_back({covered, at, false});
          spans.push_back({at, end, true});
          covered = end;
        }
        at = end;
      }
      if (covered < piece.size()) spans.push_back({covered, piece.size(), false});
    });
  }

 private:
  IsDelimiter is_delimiter_;
  Behavior behavior_;
};

template <class IsDelimiter>
std::unique_ptr<const PreTokenizer> split_at(IsDelimiter is_delimiter, Behavior behavior) {
  return std::make_unique<CharacterSplit<IsDelimiter>>(is_delimiter, behavior);
}

auto of_kind(uint8_t kinds) {
  return [kinds](uint32_t c) { return (char_kinds(c) & kinds) != 0; };
}

class PrefixSpace final : public PreTokenizer {
 public:
  void apply(Pieces& pieces, RegexScratch&) const override {
    rewrite(pieces, [](std::string_view piece, bool, std::string& out) {
      if (!piece.starts_with(' ')) out += ' ';
      out += piece;
    });
  }
};

class Metaspace final : public PreTokenizer {
 public:
  enum class Scheme { kAlways, kFirst, kNever };
  Metaspace(std::string replacement, Scheme scheme) : replacement_(std::move(replacement)), scheme_(scheme) {}
  void apply(Pieces& pieces, RegexScratch&) const override {
    rewrite(pieces, [&](std::string_view piece, bool first, std::string& out) {
      const bool prefixed = piece.starts_with(' ') || piece.starts_with(replacement_);
      const bool wanted =
          scheme_ == Scheme::kAlways || (scheme_ == Scheme::kFirst && first && pieces.at_start);
      if (wanted && !prefixed) out += replacement_;
      for (const char c : piece) {
        if (c == ' ')
          out += replacement_;
        else
          out += c;
      }
    });
  }

 private:
  std::string replacement_;
  Scheme scheme_;
};

class Sequence final : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<const PreTokenizer>> steps) : steps_(std::move(steps)) {}
  void apply(Pieces& pieces, RegexScratch& scratch) const override {
    for (const auto& step : steps_) step->apply(pieces, scratch);
  }

 private:
  std::vector<std::unique_ptr<const PreTokenizer>> steps_;
};

using Steps = std::vector<std::unique_ptr<const PreTokenizer>>;

std::unique_ptr<const PreTokenizer> make_sequence(const Json& json, bool& byte_level, int depth) {
  Steps steps;
  for (const Json& step : array_field(json, "pretokenizers")) {
    if (byte_level) fail("its pre-tokenizer has steps behind ByteLevel, which is not supported");
    if (auto made = make_pre_tokenizer(step, byte_level, depth + 1)) steps.push_back(std::move(made));
  }
  return std::make_unique<Sequence>(std::move(steps));
}

std::unique_ptr<const PreTokenizer> make_byte_level(const Json& json) {
  Steps steps;
  if (bool_field(json, "add_prefix_space", true)) steps.push_back(std::make_unique<PrefixSpace>());
  if (bool_field(json, "use_regex", true))
    steps.push_back(std::make_unique<RegexSplit>(kGpt2Pattern, Behavior::kIsolated, false));
  return std::make_unique<Sequence>(std::move(steps));
}

uint32_t character_field(const Json& json, const char* key) {
  const std::string text = string_field(json, key);
  if (text.empty() || first_code_point(text).length != text.size())
    fail_field(key, "one character", required(json, key));
  return first_code_point(text).value;
}

std::unique_ptr<const PreTokenizer> make_metaspace(const Json& json) {
  const uint32_t symbol = character_field(json, "replacement");
  const std::string name = string_field(json, "prepend_scheme", "always");
  auto scheme = Metaspace::Scheme::kAlways;
  if (name == "first")
    scheme = Metaspace::Scheme::kFirst;
  else if (name == "never")
    scheme = Metaspace::Scheme::kNever;
  else if (name != "always")
    fail("the prepend_scheme '" + name + "' of Metaspace is not known");
  if (!bool_field(json, "add_prefix_space", true)) scheme = Metaspace::Scheme::kNever;
  Steps steps;
  steps.push_back(std::make_unique<Metaspace>(string_field(json, "replacement"), scheme));
  if (bool_field(json, "split", true))
    steps.push_back(split_at([symbol](uint32_t c) { return c == symbol; }, Behavior::kMergedWithNext));
  return std::make_unique<Sequence>(std::move(steps));
}

std::unique_ptr<const PreTokenizer> make_split(const Json& json) {
  const Pattern pattern = pattern_of(required(json, "pattern"));
  return std::make_unique<RegexSplit>(pattern.regex ? pattern.text : escape_regex(pattern.text),
                                      behavior_of(string_field(json, "behavior")),
                                      bool_field(json, "invert", false));
}

std::unique_ptr<const PreTokenizer> make_bert() {
  Steps steps;
  steps.push_back(split_at(of_kind(kWhitespace), Behavior::kRemoved));
  steps.push_back(split_at(of_kind(kPunctuation), Behavior::kIsolated));
  return std::make_unique<Sequence>(std::move(steps));
}

}  // namespace

std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const Json& json, bool& byte_level, int depth) {
  if (json.is_null()) return nullptr;
  if (depth > kMaxNesting) fail("its pre-tokenizers are nested too deeply");
  const std::string type = string_field(json, "type");
  if (type == "Sequence") return make_sequence(json, byte_level, depth);
  if (type == "ByteLevel") {
    byte_level = true;
    return make_byte_level(json);
  }
  if (type == "Split") return make_split(json);
  if (type == "Metaspace") return make_metaspace(json);
  if (type == "Digits")
    return split_at(of_kind(kNumber), bool_field(json, "individual_digits", false) ? Behavior::kIsolated
                                                                                   : Behavior::kContiguous);
  if (type == "Punctuation")
    return split_at(of_kind(kPunctuation), behavior_of(string_field(json, "behavior", "Isolated")));
  if (type == "Whitespace") {  // UTS 18's \w, not Oniguruma's
    const std::string word = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D})";
    return std::make_unique<RegexSplit>("[" + word + "]+|[^\\s" + word + "]+", Behavior::kRemoved, true);
  }
  if (type == "WhitespaceSplit") return split_at(of_kind(kWhitespace), Behavior::kRemoved);
  if (type == "CharDelimiterSplit") {
    const uint32_t delimiter = character_field(json, "delimiter");
    return split_at([delimiter](uint32_t c) { return c == delimiter; }, Behavior::kRemoved);
  }
  if (type == "BertPreTokenizer") return make_bert();
  fail("its pre-tokenizer '" + type + "' is not supported");
}

}  // namespace fathom
