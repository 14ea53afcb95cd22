#pragma once
// Small hash tables for vocabularies: a key to an id, and a trie of byte strings on top of it.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/rng.h"

namespace fathom {

/// From a key other than 0 to an id; open addressing, at most half full.
class IdTable {
 public:
  static constexpr int32_t kNone = INT32_MAX;

  /// A later id of the same key replaces it.
  void insert(uint64_t key, int32_t id) {
    if (2 * (used_ + 1) > entries_.size()) grow();
    Entry& entry = at(key);
    used_ += entry.key == 0 ? 1 : 0;
    entry = {key, id};
  }
  int32_t find(uint64_t key) const { return const_cast<IdTable*>(this)->at(key).id; }  ///< or kNone

 private:
  struct Entry {
    uint64_t key = 0;
    int32_t id = kNone;
  };
  Entry& at(uint64_t key) {
    size_t i = mix64(key) & (entries_.size() - 1);
    while (entries_[i].key != 0 && entries_[i].key != key) i = (i + 1) & (entries_.size() - 1);
    return entries_[i];
  }
  void grow() {
    std::vector<Entry> old(2 * entries_.size());
    old.swap(entries_);
    for (const Entry& entry : old) {
      if (entry.key != 0) at(entry.key) = entry;
    }
  }

  std::vector<Entry> entries_ = std::vector<Entry>(16);
  size_t used_ = 0;
};

/// Byte strings with an id each, found as prefixes of a text.
class ByteTrie {
 public:
  static constexpr int32_t kNone = IdTable::kNone;

  /// A later id of the same string replaces it; the empty string is never found.
  void insert(std::string_view text, int32_t id) {
    int32_t node = 0;
    for (const char c : text) {
      int32_t next = children_.find(key(node, c));
      if (next == kNone) {
        next = static_cast<int32_t>(ids_.size());
        children_.insert(key(node, c), next);
        ids_.push_back(kNone);
      }
      node = next;
    }
    ids_[static_cast<size_t>(node)] = id;
  }

  /// Calls visit(length, id) for each string that `text` starts with, the shortest first.
  template <class Visit>
  void visit_prefixes(std::string_view text, Visit visit) const {
    int32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      node = children_.find(key(node, text[i]));
      if (node == kNone) return;
      if (const int32_t id = ids_[static_cast<size_t>(node)]; id != kNone) visit(i + 1, id);
    }
  }

  /// The id of the whole string, or kNone.
  int32_t find(std::string_view text) const {
    int32_t found = kNone;
    visit_prefixes(text, [&](size_t length, int32_t id) { found = length == text.size() ? id : kNone; });
    return found;
  }

 private:
  static uint64_t key(int32_t node, char c) {
    return (static_cast<uint64_t>(node) + 1) << 8 | static_cast<unsigned char>(c);
  }

  IdTable children_;
  std::vector<int32_t> ids_ = {kNone};  // of each node
};

}  // namespace fathom
