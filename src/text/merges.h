#pragma once
// Byte-pair encoding's inner loop, for every tokenizer that merges: of the adjacent pairs with a merge, the
// one of the smallest rank, the leftmost on a tie, becomes one symbol, until none is left (Sennrich et al.
// 2016, arXiv:1508.07909).

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fathom {

/// Hash table from a key other than 0 to a pair of 32-bit values; open addressing, at most half full.
class MergeTable {
 public:
  struct Merge {
    int32_t rank = kNone, id = kNone;
  };
  static constexpr int32_t kNone = INT32_MAX;  // less important than any rank

  void reserve(size_t entries);
  /// The merge of two symbols; a later one of the same pair replaces it. reserve() counted it.
  void insert(int32_t left, int32_t right, Merge merge);
  Merge find(int32_t left, int32_t right) const;

  /// Merges `symbols` in place.
  void merge_all(std::vector<int32_t>& symbols) const;

 private:
  void merge_short(std::vector<int32_t>& symbols) const;
  void merge_long(std::vector<int32_t>& symbols) const;

  struct Entry {
    uint64_t key = 0;
    Merge merge;
  };
  std::vector<Entry> entries_ = std::vector<Entry>(1);
};

}  // namespace fathom
