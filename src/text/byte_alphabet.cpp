#include "text/byte_alphabet.h"

#include <array>

#include "text/unicode.h"

namespace fathom {
namespace {

constexpr size_t kCharacters = 0x144;  // 256 + the 68 bytes that are not printable

std::array<int, kCharacters> make_bytes() {
  std::array<int, kCharacters> bytes;
  bytes.fill(-1);
  size_t next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    bytes[printable ? static_cast<size_t>(byte) : next++] = byte;
  }
  return bytes;
}

}  // namespace

std::optional<std::string> bytes_from_alphabet(std::string_view token) {
  static const std::array<int, kCharacters> kBytes = make_bytes();
  std::string bytes;
  for (size_t at = 0; at < token.size();) {
    const CodePoint c = first_code_point(token.substr(at));
    if (c.value >= kCharacters || kBytes[c.value] < 0) return std::nullopt;
    bytes += static_cast<char>(kBytes[c.value]);
    at += c.length;
  }
  return bytes;
}

}  // namespace fathom
