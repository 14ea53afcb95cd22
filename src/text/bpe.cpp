#include "text/bpe.h"

#include <algorithm>
#include <unordered_map>

#include "text/utf8.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

/// The up to four bytes of a character as a number other than 0 (NUL is 1 << 32).
uint64_t character_key(std::string_view character) {
  uint64_t key = uint64_t{1} << 32;
  for (const char c : character)
    key = (key & ~uint64_t{0xffffffff}) | (key << 8 & 0xffffffff) | static_cast<unsigned char>(c);
  return key;
}

std::string with_spaces(std::string_view piece) {
  std::string text;
  while (!piece.empty()) {
    const bool space = piece.starts_with(kSpaceSymbol);
    text += space ? ' ' : piece.front();
    piece.remove_prefix(space ? kSpaceSymbol.size() : 1);
  }
  return text;
}

}  // namespace

BpeEncoder::BpeEncoder(const std::vector<std::string>& pieces) {
  learn_joins(pieces);
  learn_pairs(pieces);
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool space = pieces[i] == kSpaceSymbol;
    if (utf8_char_length(pieces[i]) != pieces[i].size()) continue;
    characters_.insert(character_key(space ? " " : pieces[i]), kFirstPieceId + static_cast<int32_t>(i));
  }
}

void BpeEncoder::learn_joins(const std::vector<std::string>& pieces) {
  const auto join = [&](unsigned left, unsigned right) {
    joins_[left][right >> 6] |= uint64_t{1} << (right & 63);
  };
  for (const std::string& piece : pieces) {
    const std::string text = with_spaces(piece);
    for (size_t i = 1; i < text.size(); ++i) {
      join(static_cast<unsigned char>(text[i - 1]), static_cast<unsigned char>(text[i]));
    }
  }
  // A character outside the vocabulary must stay whole as well, lest the U+2581 of a text look like three
  // strangers.
  for (unsigned left = 0x80; left < 0x100; ++left) {
    for (unsigned right = 0x80; right < 0xc0; ++right) join(left, right);
  }
}

void BpeEncoder::learn_pairs(const std::vector<std::string>& pieces) {
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t i = 0; i < pieces.size(); ++i) ids.emplace(pieces[i], kFirstPieceId + static_cast<int32_t>(i));
  struct Merge {
    int32_t left, right, id;
  };
  std::vector<Merge> merges;
  for (const std::string_view piece : pieces) {
    for (size_t at = utf8_char_length(piece); at < piece.size(); at += utf8_char_length(piece.substr(at))) {
      const auto left = ids.find(piece.substr(0, at)), right = ids.find(piece.substr(at));
      if (left == ids.end() || right == ids.end()) continue;
      merges.push_back({left->second, right->second, ids.at(piece)});
    }
  }
  pairs_.reserve(merges.size());
  for (const Merge& m : merges) pairs_.insert(m.left, m.right, {.rank = m.id, .id = m.id});
}

void BpeEncoder::encode(std::string_view text, WordCache& cache, std::vector<int32_t>& out) const {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  for (size_t begin = 0, end; begin < text.size(); begin = end) {
    for (end = begin + 1; end < text.size() && joins(byte(end - 1), byte(end)); ++end) {
    }
    cache.encode(text.substr(begin, end - begin), out,
                 [&](std::string_view part, std::vector<int32_t>& ids) { encode_part(part, ids); });
  }
}

void BpeEncoder::encode_part(std::string_view part, std::vector<int32_t>& out) const {
  thread_local std::vector<int32_t> ids;  // spares an allocation a part
  split_characters(part, ids);
  pairs_.merge_all(ids);
  out.insert(out.end(), ids.begin(), ids.end());
}

void BpeEncoder::split_characters(std::string_view part, std::vector<int32_t>& ids) const {
  ids.clear();
  while (!part.empty()) {
    const size_t length = std::max<size_t>(1, utf8_char_length(part));
    const int32_t id = characters_.find(character_key(part.substr(0, length)));
    if (id !=
        IdTable::kNone) {  // never a U+2581 of the text: the piece of that name is filed under the space
      ids.push_back(id);
    } else {
      for (const char c : part.substr(0, length)) ids.push_back(kFirstByteId + static_cast<unsigned char>(c));
    }
    part.remove_prefix(length);
  }
}

}  // namespace fathom
