#include "text/merges.h"

#include <algorithm>
#include <array>
#include <bit>
#include <queue>

#include "core/rng.h"

namespace fathom {
namespace {

constexpr size_t kShort = 40;  // symbols up to which a scan beats a heap

/// Never 0, as ids are not negative.
uint64_t pair_key(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(left) + 1) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

void MergeTable::reserve(size_t entries) {
  entries_.assign(std::bit_ceil(std::max<size_t>(16, 2 * entries)), {});
}

void MergeTable::insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = pair_key(left, right);
  size_t at = mix64(key) & (entries_.size() - 1);
  while (entries_[at].key != 0 && entries_[at].key != key) at = (at + 1) & (entries_.size() - 1);
  entries_[at] = {key, merge};
}

MergeTable::Merge MergeTable::find(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  size_t at = mix64(key) & (entries_.size() - 1);
  while (entries_[at].key != 0 && entries_[at].key != key) at = (at + 1) & (entries_.size() - 1);
  return entries_[at].merge;
}

void MergeTable::merge_all(std::vector<int32_t>& symbols) const {
  if (symbols.size() <= kShort)
    merge_short(symbols);
  else
    merge_long(symbols);
}

void MergeTable::merge_short(std::vector<int32_t>& ids) const {
  std::array<int32_t, kShort> rank, id;  // of the merge of ids[i] and ids[i + 1]
  size_t n = ids.size();
  const auto look_up = [&](size_t i) {
    const Merge merge = find(ids[i], ids[i + 1]);
    rank[i] = merge.rank;
    id[i] = merge.id;
  };
  for (size_t i = 0; i + 1 < n; ++i) look_up(i);
  while (n > 1) {
    const auto best =
        std::min_element(rank.begin(), rank.begin() + static_cast<std::ptrdiff_t>(n) - 1);  // the leftmost
    if (*best == kNone) break;
    const auto at = static_cast<size_t>(best - rank.begin());
    ids[at] = id[at];
    --n;
    for (size_t i = at + 1; i < n; ++i) {
      ids[i] = ids[i + 1];
      rank[i] = rank[i + 1];
      id[i] = id[i + 1];
    }
    if (at + 1 < n) look_up(at);
    if (at > 0) look_up(at - 1);
  }
  ids.resize(n);
}

void MergeTable::merge_long(std::vector<int32_t>& ids) const {
  // A linked list of symbols and a heap of candidate merges. A candidate whose symbols have changed since is
  // stale.
  struct Candidate {
    int32_t rank, id, left_id, right_id;
    size_t left, right;
    bool operator>(const Candidate& o) const { return rank != o.rank ? rank > o.rank : left > o.left; }
  };
  constexpr size_t kEnd = SIZE_MAX;
  const size_t n = ids.size();
  std::vector<size_t> previous(n), next(n);
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap;
  const auto propose = [&](size_t left, size_t right) {
    if (left == kEnd || right == kEnd) return;
    const Merge merge = find(ids[left], ids[right]);
    if (merge.rank != kNone) heap.push({merge.rank, merge.id, ids[left], ids[right], left, right});
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
