#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <queue>
#include <unordered_map>

#include "core/rng.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

constexpr size_t kSlots = size_t{1} << 16;  // enough for the common words of a language; 4 MiB
constexpr size_t kKeyBytes = 23;            // longer parts are rare
constexpr size_t kSlotIds = 9;              // fills the 64-byte slot
constexpr size_t kShort = 40;               // symbols up to which a scan beats a heap

/// The up to four bytes of a character as a number other than 0 (NUL is 1 << 32).
uint64_t character_key(std::string_view character) {
  uint64_t key = uint64_t{1} << 32;
  for (const char c : character)
    key = (key & ~uint64_t{0xffffffff}) | (key << 8 & 0xffffffff) | static_cast<unsigned char>(c);
  return key;
}

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
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

struct alignas(64) BpeEncoder::Cache::Slot {
  std::array<uint64_t, 3>
      key{};  // the part's bytes; the last one is its length, so that an empty slot matches nothing
  std::array<int32_t, kSlotIds> ids{};
  uint8_t count = 0;
};

BpeEncoder::Cache::Cache() : slots_(new Slot[kSlots]) { static_assert(sizeof(Slot) == 64); }
void BpeEncoder::Cache::Deleter::operator()(Slot* slots) const { delete[] slots; }

void BpeEncoder::IdTable::reserve(size_t entries) {
  const size_t size = std::bit_ceil(std::max<size_t>(16, 2 * entries));
  keys_.assign(size, 0);
  ids_.assign(size, kNone);
}

void BpeEncoder::IdTable::insert(uint64_t key, int32_t id) {
  size_t at = mix64(key) & (keys_.size() - 1);
  while (keys_[at] != 0) at = (at + 1) & (keys_.size() - 1);
  keys_[at] = key;
  ids_[at] = id;
}

int32_t BpeEncoder::IdTable::find(uint64_t key) const {
  size_t at = mix64(key) & (keys_.size() - 1);
  while (keys_[at] != 0 && keys_[at] != key) at = (at + 1) & (keys_.size() - 1);
  return ids_[at];
}

BpeEncoder::BpeEncoder(const std::vector<std::string>& pieces) {
  learn_joins(pieces);
  learn_pairs(pieces);
  characters_.reserve(pieces.size());
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
    uint64_t pair;
    int32_t id;
  };
  std::vector<Merge> merges;
  for (const std::string_view piece : pieces) {
    for (size_t at = utf8_char_length(piece); at < piece.size(); at += utf8_char_length(piece.substr(at))) {
      const auto left = ids.find(piece.substr(0, at)), right = ids.find(piece.substr(at));
      if (left == ids.end() || right == ids.end()) continue;
      merges.push_back({pair_key(left->second, right->second), ids.at(piece)});
    }
  }
  pairs_.reserve(merges.size());
  for (const Merge& merge : merges) pairs_.insert(merge.pair, merge.id);
}

void BpeEncoder::encode(std::string_view text, Cache& cache, std::vector<int32_t>& out) const {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  for (size_t begin = 0, end; begin < text.size(); begin = end) {
    for (end = begin + 1; end < text.size() && joins(byte(end - 1), byte(end)); ++end) {
    }
    const std::string_view part = text.substr(begin, end - begin);
    if (part.size() > kKeyBytes) {
      encode_part(part, out);
      continue;
    }
    std::array<char, 24> padded{};
    std::memcpy(padded.data(), part.data(), part.size());
    padded[kKeyBytes] = static_cast<char>(part.size());
    const auto key = std::bit_cast<std::array<uint64_t, 3>>(padded);
    const uint64_t hash = mix64(key[0] ^ mix64(key[1] ^ (key[2] * 0x9e3779b97f4a7c15ull)));
    Cache::Slot& slot = cache.slots_[hash & (kSlots - 1)];
    if (slot.key == key) {
      out.insert(out.end(), slot.ids.begin(), slot.ids.begin() + slot.count);
      continue;
    }
    const size_t before = out.size();
    encode_part(part, out);
    const size_t count = out.size() - before;
    if (count > kSlotIds) continue;
    slot.key = key;
    slot.count = static_cast<uint8_t>(count);
    std::copy(out.begin() + static_cast<std::ptrdiff_t>(before), out.end(), slot.ids.begin());
  }
}

void BpeEncoder::encode_part(std::string_view part, std::vector<int32_t>& out) const {
  thread_local std::vector<int32_t> ids;  // spares an allocation a part
  split_characters(part, ids);
  if (ids.size() <= kShort)
    merge_short(ids);
  else
    merge_long(ids);
  out.insert(out.end(), ids.begin(), ids.end());
}

void BpeEncoder::split_characters(std::string_view part, std::vector<int32_t>& ids) const {
  ids.clear();
  while (!part.empty()) {
    const size_t length = std::max<size_t>(1, utf8_char_length(part));
    const int32_t id = characters_.find(character_key(part.substr(0, length)));
    if (id != kNone) {  // never a U+2581 of the text: the piece of that name is filed under the space
      ids.push_back(id);
    } else {
      for (const char c : part.substr(0, length)) ids.push_back(kFirstByteId + static_cast<unsigned char>(c));
    }
    part.remove_prefix(length);
  }
}

int32_t BpeEncoder::merged(int32_t left, int32_t right) const { return pairs_.find(pair_key(left, right)); }

void BpeEncoder::merge_short(std::vector<int32_t>& ids) const {
  std::array<int32_t, kShort> pair;  // pair[i]: what ids[i] and ids[i + 1] merge into, or kNone
  size_t n = ids.size();
  for (size_t i = 0; i + 1 < n; ++i) pair[i] = merged(ids[i], ids[i + 1]);
  while (n > 1) {
    const auto best =
        std::min_element(pair.begin(), pair.begin() + static_cast<std::ptrdiff_t>(n) - 1);  // the leftmost
    if (*best == kNone) break;
    const auto at = static_cast<size_t>(best - pair.begin());
    ids[at] = *best;
    std::copy(ids.begin() + static_cast<std::ptrdiff_t>(at) + 2, ids.begin() + static_cast<std::ptrdiff_t>(n),
              ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    --n;
    for (size_t i = at + 1; i + 1 < n; ++i) pair[i] = pair[i + 1];
    if (at + 1 < n) pair[at] = merged(ids[at], ids[at + 1]);
    if (at > 0) pair[at - 1] = merged(ids[at - 1], ids[at]);
  }
  ids.resize(n);
}

void BpeEncoder::merge_long(std::vector<int32_t>& ids) const {
  // A linked list of symbols and a heap of candidate merges. A candidate whose symbols have changed since is
  // stale.
  struct Candidate {
    int32_t id, left_id, right_id;
    size_t left, right;
    bool operator>(const Candidate& o) const { return id != o.id ? id > o.id : left > o.left; }
  };
  constexpr size_t kEnd = SIZE_MAX;
  const size_t n = ids.size();
  std::vector<size_t> previous(n), next(n);
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap;
  const auto propose = [&](size_t left, size_t right) {
    if (left == kEnd || right == kEnd) return;
    const int32_t id = merged(ids[left], ids[right]);
    if (id != kNone) heap.push({id, ids[left], ids[right], left, right});
  };
  for (size_t i = 0; i < n; ++i) {
    previous[i] = i == 0 ? kEnd : i - 1;
    next[i] = i + 1 == n ? kEnd : i + 1;
  }
  for (size_t i = 0; i + 1 < n; ++i) propose(i, i + 1);
  while (!heap.empty()) {
    const Candidate best = heap.top();
    heap.pop();
    if (ids[best.left] != best.left_id || ids[best.right] != best.right_id || next[best.left] != best.right)
      continue;
    ids[best.left] = best.id;
    ids[best.right] = kNone;  // gone
    next[best.left] = next[best.right];
    if (next[best.right] != kEnd) previous[next[best.right]] = best.left;
    propose(previous[best.left], best.left);
    propose(best.left, next[best.left]);
  }
  std::erase(ids, kNone);
}

}  // namespace fathom
