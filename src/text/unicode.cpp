#include "text/unicode.h"

#include <cstdlib>
#include <memory>
#include <vector>

#include <utf8proc.h>

#include "core/error.h"
#include "text/unicode_younger.h"

namespace fathom {
namespace {

constexpr uint32_t kCodePoints = 0x110000;

bool is_white_space(uint32_t c, utf8proc_category_t category) {
  return (c >= 9 && c <= 13) || c == 0x85 || category == UTF8PROC_CATEGORY_ZS ||
         category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

/// Alphabetic beyond the letters, marks and letter numbers: circled and squared Latin letters.
bool is_enclosed_letter(uint32_t c) {
  return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
         (c >= 0x1f170 && c <= 0x1f189);
}

uint8_t kinds_of(uint32_t c, utf8proc_category_t category) {
  uint8_t kinds = is_white_space(c, category) ? kWhitespace : 0;
  switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      kinds |= kWordChar;
      break;
    case UTF8PROC_CATEGORY_MN:
      kinds |= kMark | kWordChar;
      break;
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      kinds |= kMark | kWordChar;
      break;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
      kinds |= kNumber | kWordChar;
      break;
    case UTF8PROC_CATEGORY_NO:
      kinds |= kNumber;
      break;
    case UTF8PROC_CATEGORY_PC:
      kinds |= kPunctuation | kWordChar;
      break;
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      kinds |= kPunctuation;
      break;
    default:
      if (is_enclosed_letter(c)) kinds |= kWordChar;
  }
  if (c > 0x20 && c < 0x7f && category >= UTF8PROC_CATEGORY_SM && category <= UTF8PROC_CATEGORY_SO)
    kinds |= kPunctuation;                             // $+<=>^`|~
  if (c == 0x200c || c == 0x200d) kinds |= kWordChar;  // Join_Control
  return kinds;
}

utf8proc_category_t category_named(std::string_view name) {
  for (int category = 0; category <= UTF8PROC_CATEGORY_CO; ++category) {
    static constexpr std::string_view kNames = "CnLuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCo";
    if (kNames.substr(2 * static_cast<size_t>(category), 2) == name)
      return static_cast<utf8proc_category_t>(category);
  }
  return UTF8PROC_CATEGORY_CN;
}

std::vector<uint8_t> make_table() {
  std::vector<uint8_t> table(kCodePoints);
  for (uint32_t c = 0; c < kCodePoints; ++c)
    table[c] = kinds_of(c, utf8proc_category(static_cast<utf8proc_int32_t>(c)));
  for (const YoungerRange& range : kYoungerRanges) {
    for (uint32_t c = range.first; c <= range.last; ++c)
      table[c] = static_cast<uint8_t>(kinds_of(c, category_named(range.category)) | kYounger | kInert);
  }
  for (const CodePointRange& range : kInertRanges) {
    for (uint32_t c = range.first; c <= range.last; ++c) table[c] |= kInert;
  }
  for (const CodePointRange& range : kLaterPunctuation) {
    for (uint32_t c = range.first; c <= range.last; ++c) table[c] &= static_cast<uint8_t>(~kPunctuation);
  }
  for (const uint32_t c : {0x166du, 0x111c9u}) table[c] |= kPunctuation;  // once it was
  return table;
}

/// No character of these blocks changes in NFC or composes with a neighbour, so that text of them alone is in
/// NFC: below the combining marks, CJK, punctuation and symbols of the BMP without canonical mappings, emoji.
bool stays_in_nfc(uint32_t c) {
  return c < 0x300 || (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
         (c >= 0x2010 && c <= 0x205f) || (c >= 0x1f000 && c <= 0x1faff) || (c >= 0xff01 && c <= 0xff5e) ||
         (c >= 0x3000 && c <= 0x3029);
}

uint32_t lower_of(uint32_t c) {
  // The pairs of Unicode 16, which utf8proc does not know.
  if (c == 0xa7cb) return 0x264;
  if (c == 0xa7dc) return 0x19b;
  if (c == 0x1c89 || c == 0xa7cc || c == 0xa7da) return c + 1;
  if (c >= 0x10d50 && c <= 0x10d65) return c + 0x20;
  return static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

utf8proc_option_t options_of(NormalForm form) {
  int options = UTF8PROC_STABLE;
  options |= form == NormalForm::kNfc || form == NormalForm::kNfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::kNfkc || form == NormalForm::kNfkd) options |= UTF8PROC_COMPAT;
  return static_cast<utf8proc_option_t>(options);
}

void append_mapped(std::string& out, std::string_view text, utf8proc_option_t options) {
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                               static_cast<utf8proc_ssize_t>(text.size()), &mapped, options);
  if (length < 0) fail(std::string("cannot normalize the text: ") + utf8proc_errmsg(length));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, std::free);
  out.append(reinterpret_cast<const char*>(mapped), static_cast<size_t>(length));
}

}  // namespace

uint8_t char_kinds(uint32_t code_point) {
  static const std::vector<uint8_t> table = make_table();
  return table[code_point];
}

CodePoint first_code_point(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[i])); };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xe0) return {(lead & 0x1f) << 6 | (byte(1) & 0x3f), 2};
  if (lead < 0xf0) return {(lead & 0xf) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f), 3};
  return {(lead & 7) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f), 4};
}

size_t last_character(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
  return at;
}

void append_utf8(std::string& text, uint32_t c) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
}

std::string to_normal_form(std::string_view text, NormalForm form) {
  std::string out;
  out.reserve(text.size());
  const utf8proc_option_t options = options_of(form);
  // ASCII stays itself and composes with nothing before it, so that text may be cut in front of it. What
  // needs no change is copied as it is: `copied` up to here; a doubtful stretch runs from the ASCII character
  // in front of it to the next one.
  size_t copied = 0, cut = 0, at = 0;
  while (at < text.size()) {
    const auto [c, length] = first_code_point(text.substr(at));
    if (c < 0x80) cut = at;
    const bool stays = form == NormalForm::kNfc ? stays_in_nfc(c) : c < 0x80;
    if (stays) {
      at += length;
      continue;
    }
    size_t end = at + length;
    while (end < text.size() && static_cast<unsigned char>(text[end]) >= 0x80) ++end;
    out.append(text.substr(copied, cut - copied));
    while (cut < end) {  // inert characters are copied, and part what stands around them
      size_t stop = cut;
      CodePoint inert{0, 0};
      for (; stop < end; stop += inert.length, inert.length = 0) {
        inert = first_code_point(text.substr(stop));
        if (char_kinds(inert.value) & kInert) break;
      }
      append_mapped(out, text.substr(cut, stop - cut), options);
      out.append(text.substr(stop, inert.length));
      cut = stop + inert.length;
    }
    copied = cut = at = end;
  }
  return out.append(text.substr(copied));
}

std::string to_lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const auto [c, length] = first_code_point(text.substr(at));
    at += length;
    if (c < 0x80)
      out.push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c));
    else if (c == 0x130)
      out += "i\xcc\x87";  // the one character whose lower case is two (SpecialCasing.txt)
    else
      append_utf8(out, lower_of(c));
  }
  return out;
}

size_t grapheme_length(std::string_view text) {
  CodePoint last = first_code_point(text);
  size_t length = last.length;
  for (utf8proc_int32_t state = 0; length < text.size();) {
    const CodePoint next = first_code_point(text.substr(length));
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(last.value),
                                         static_cast<utf8proc_int32_t>(next.value), &state))
      break;
    length += next.length;
    last = next;
  }
  return length;
}

}  // namespace fathom
