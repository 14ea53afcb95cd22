#pragma once
// SentencePiece's compiled normalization rules ("precompiled_charsmap"): a double-array trie from strings to
// places in a list of replacements. Layout: u32 bytes of the trie, the trie as u32 units (darts-clone), the
// replacements, each ended by NUL. Sources: google/sentencepiece, src/normalizer.cc; s-yata/darts-clone,
// include/darts.h.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

class CharsMap {
 public:
  /// Every path through the trie is walked once: none leads outside of it or of the replacements. Errors:
  /// Error (without a path) for a damaged one.
  explicit CharsMap(std::string_view bytes);

  /// `text` (valid UTF-8) as Hugging Face `tokenizers` rewrites it: grapheme by grapheme where one of at most
  /// five bytes has a rule, else character by character, and of the rules that a string starts with the
  /// shortest.
  std::string apply(std::string_view text) const;

 private:
  void check() const;
  std::optional<std::string_view> replacement(std::string_view text) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

/// The bytes that `text` encodes in base 64. Errors: Error.
std::string decode_base64(std::string_view text);

}  // namespace fathom
