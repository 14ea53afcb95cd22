#include "text/charsmap.h"

#include <cstring>

#include "core/error.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace fathom {
namespace {

constexpr size_t kMaxGrapheme = 5;  // bytes; tokenizers, normalizers/precompiled.rs

// One unit of darts-clone: bits 0-7 the label, 8 "has a leaf", 9 and 10-31 the offset; a leaf is its value in
// 31 bits.
bool has_leaf(uint32_t unit) { return unit >> 8 & 1; }
uint32_t value_of(uint32_t unit) { return unit & 0x7fffffff; }
uint32_t label_of(uint32_t unit) { return unit & 0x800000ff; }
uint64_t offset_of(uint32_t unit) { return uint64_t{unit >> 10} << ((unit & (1u << 9)) >> 6); }

[[noreturn]] void damaged() { fail("the normalization rules (precompiled_charsmap) are damaged"); }

}  // namespace

CharsMap::CharsMap(std::string_view bytes) {
  uint32_t size = 0;
  if (bytes.size() < sizeof(size)) damaged();
  std::memcpy(&size, bytes.data(), sizeof(size));
  bytes.remove_prefix(sizeof(size));
  if (size > bytes.size() || size % 4 != 0 || size == 0) damaged();
  units_.resize(size / 4);
  std::memcpy(units_.data(), bytes.data(), size);
  replacements_ = bytes.substr(size);
  check();
}

void CharsMap::check() const {
  if (find_invalid_utf8(replacements_) != std::string_view::npos) damaged();
  if (replacements_.empty() || replacements_.back() != '\0') damaged();
  std::vector<bool> seen(units_.size());
  std::vector<uint64_t> nodes = {0};
  seen[0] = true;
  while (!nodes.empty()) {
    const uint64_t base = nodes.back() ^ offset_of(units_[nodes.back()]);
    const bool leaf = has_leaf(units_[nodes.back()]);
    nodes.pop_back();
    // A search looks at base ^ c for any byte c, and at base for a leaf's value.
    if ((base | 0xff) >= units_.size()) damaged();
    if (leaf && (value_of(units_[base]) >= replacements_.size() ||
                 (static_cast<unsigned char>(replacements_[value_of(units_[base])]) & 0xc0) == 0x80))
      damaged();
    for (uint32_t c = 1; c < 256; ++c) {
      const uint64_t child = base ^ c;
      if (label_of(units_[child]) != c || seen[child]) continue;
      seen[child] = true;
      nodes.push_back(child);
    }
  }
}

std::optional<std::string_view> CharsMap::replacement(std::string_view text) const {
  uint64_t node = offset_of(units_[0]);
  for (const char byte : text) {
    const auto c = static_cast<unsigned char>(byte);
    node ^= c;
    if (c == 0 || label_of(units_[node]) != c) return std::nullopt;
    const bool leaf = has_leaf(units_[node]);
    node ^= offset_of(units_[node]);
    if (leaf) return std::string_view(replacements_.c_str() + value_of(units_[node]));
  }
  return std::nullopt;
}

std::string CharsMap::apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t length = grapheme_length(text.substr(at));
    const std::string_view grapheme = text.substr(at, length);
    at += length;
    if (length <= kMaxGrapheme) {
      if (const auto norm = replacement(grapheme)) {
        out += *norm;
        continue;
      }
    }
    for (size_t i = 0, n = 0; i < length; i += n) {
      n = first_code_point(grapheme.substr(i)).length;
      const std::string_view character = grapheme.substr(i, n);
      out += replacement(character).value_or(character);
    }
  }
  return out;
}

std::string decode_base64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    uint32_t digit = 0;
    if (c >= 'A' && c <= 'Z')
      digit = static_cast<uint32_t>(c - 'A');
    else if (c >= 'a' && c <= 'z')
      digit = static_cast<uint32_t>(c - 'a') + 26;
    else if (c >= '0' && c <= '9')
      digit = static_cast<uint32_t>(c - '0') + 52;
    else if (c == '+' || c == '/')
      digit = c == '+' ? 62 : 63;
    else
      fail("a base-64 text holds '" + std::string(1, c) + "'");
    bits = bits << 6 | digit;
    if ((count += 6) >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 0xff);
  }
  return bytes;
}

}  // namespace fathom
