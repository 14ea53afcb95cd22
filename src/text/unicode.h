#pragma once
// What pre-tokenizers and normalizers ask of Unicode: kinds of characters, normal forms, lower case. Kinds
// are those of Unicode 16; normal forms come from utf8proc.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fathom {

/// Kinds of a code point, as bits.
enum CharKind : uint8_t {
  kNumber = 1,       ///< general category N
  kPunctuation = 2,  ///< what `tokenizers` 0.21 takes for it: category P of an older Unicode, all of ASCII's
  kWhitespace = 4,   ///< property White_Space
  kWordChar = 8,     ///< \w of UTS 18: letters, marks, decimal numbers, connectors, joiners
  kInert = 16,       ///< left alone by normal forms (unicode_younger.h)
  kMark = 32,        ///< general category M
  kYounger = 64,     ///< assigned by Unicode 15 or 16, so unknown to PCRE2 10.42
};
uint8_t char_kinds(uint32_t code_point);

/// The code point that `text` (not empty, valid UTF-8) starts with, and its length in bytes.
struct CodePoint {
  uint32_t value;
  uint32_t length;
};
CodePoint first_code_point(std::string_view text);
/// The start of the last character of `text` (not empty, valid UTF-8).
size_t last_character(std::string_view text);
void append_utf8(std::string& text, uint32_t code_point);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };
/// `text` (valid UTF-8) in a normal form (UAX 15).
std::string to_normal_form(std::string_view text, NormalForm form);

/// Each character's full lower-case mapping, without regard to its neighbours (as Rust's char::to_lowercase).
std::string to_lowercase(std::string_view text);

/// Length in bytes of the extended grapheme cluster (UAX 29) that `text` (not empty, valid UTF-8) starts
/// with.
size_t grapheme_length(std::string_view text);

}  // namespace fathom
