#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace fathom {
namespace {

size_t spaces_at_start(std::string_view text) {
  size_t length = 0;
  while (length < text.size()) {
    const CodePoint c = first_code_point(text.substr(length));
    if (!(char_kinds(c.value) & kWhitespace)) break;
    length += c.length;
  }
  return length;
}

size_t spaces_at_end(std::string_view text) {
  size_t length = 0;
  while (length < text.size()) {
    const std::string_view rest = text.substr(0, text.size() - length);
    const size_t last = last_character(rest);
    if (!(char_kinds(first_code_point(rest.substr(last)).value) & kWhitespace)) break;
    length = text.size() - last;
  }
  return length;
}

/// Whether a word character stands right in front of `begin` or right behind `end`.
bool touches_word(std::string_view text, size_t begin, size_t end) {
  const auto is_word = [&](size_t at) {
    return (char_kinds(first_code_point(text.substr(at)).value) & kWordChar) != 0;
  };
  return (begin > 0 && is_word(last_character(text.substr(0, begin)))) || (end < text.size() && is_word(end));
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    // Of tokens with the same (normalized) content the first one counts, as in an Aho-Corasick automaton.
    if (trie_.find(tokens_[i].content) == ByteTrie::kNone)
      trie_.insert(tokens_[i].content, static_cast<int32_t>(i));
    starts_[static_cast<unsigned char>(tokens_[i].content[0])] = true;
  }
}

std::vector<TextPart> AddedTokenFinder::split(std::string_view text, SpecialTokens special) const {
  std::vector<TextPart> parts;
  size_t covered = 0;
  const auto cover = [&](size_t end, int32_t id) {
    if (end > covered) parts.push_back({covered, end, id});
    covered = std::max(covered, end);
  };
  for (size_t at = 0; !tokens_.empty() && at < text.size();) {
    if (!starts_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    size_t length = 0;
    int32_t index = 0;
    trie_.visit_prefixes(text.substr(at), [&](size_t n, int32_t i) {
      length = n;
      index = i;
    });
    if (length == 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    size_t begin = at, end = at + length;
    at = end;
    if (token.special && special == SpecialTokens::kText) continue;
    if (token.single_word && touches_word(text, begin, end)) continue;
    if (token.lstrip) begin = std::max(begin - spaces_at_end(text.substr(0, begin)), covered);
    if (token.rstrip) end += spaces_at_start(text.substr(end));
    cover(std::max(begin, covered), TextPart::kNone);
    cover(end, token.id);
  }
  cover(text.size(), TextPart::kNone);
  return parts;
}

}  // namespace fathom
