#pragma once
// Tokens that a tokenizer finds in the text before any model sees it: special ones such as "<|endoftext|>",
// and words added to the vocabulary by hand. As `tokenizers` does (added_vocabulary.rs): at each place the
// longest one, the leftmost first.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/id_table.h"

namespace fathom {

/// Whether the names of special tokens in a text stand for the tokens, or are text like any other.
enum class SpecialTokens { kText, kParse };

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;
  bool single_word = false;             ///< only where no word character stands next to it
  bool lstrip = false, rstrip = false;  ///< takes the white space on its left, on its right, with it
  bool normalized = false;              ///< looked for in the normalized text
};

/// A stretch of text: an added token's id, or kNone where it is for the model.
struct TextPart {
  static constexpr int32_t kNone = -1;
  size_t begin, end;
  int32_t id;
};

class AddedTokenFinder {
 public:
  /// `tokens` with the contents to look for, none empty.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens = {});

  bool empty() const { return tokens_.empty(); }
  /// Cuts `text` (valid UTF-8) into parts, in order, none empty.
  std::vector<TextPart> split(std::string_view text, SpecialTokens special) const;

 private:
  std::vector<AddedToken> tokens_;
  ByteTrie trie_;                   // contents -> index into tokens_
  std::array<bool, 256> starts_{};  // first bytes of contents
};

}  // namespace fathom
