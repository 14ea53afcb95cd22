#pragma once
// FNV-1a: 64 bits of a text, the same on every machine and in every version, so that files may hold them.

#include <cstdint>
#include <string_view>

namespace fathom {

/// Tells texts apart, no more: whoever wants to makes two texts alike.
/// Source: Fowler, Noll and Vo, http://www.isthe.com/chongo/tech/comp/fnv/.
inline uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

}  // namespace fathom
