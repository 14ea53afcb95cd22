#include "eval/token_tree.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace fathom {
namespace {

// The first `count` rows of a path.
std::vector<RowRange> cut(const std::vector<RowRange>& path, size_t count) {
  std::vector<RowRange> piece;
  for (const RowRange& range : path) {
    if (count == 0) break;
    piece.push_back({range.row, std::min(range.count, count)});
    count -= piece.back().count;
  }
  return piece;
}

}  // namespace

size_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t n = std::min(a.size(), b.size());
  return static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin()).first - a.begin());
}

TokenTree::TokenTree(std::span<const std::span<const int32_t>> sequences) : paths_(sequences.size()) {
  // In the order of a dictionary each sequence has its longest common beginning with the one before it.
  std::vector<size_t> order(sequences.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::lexicographical_compare(sequences[a].begin(), sequences[a].end(), sequences[b].begin(),
                                        sequences[b].end());
  });
  std::span<const int32_t> before;
  const std::vector<RowRange>* path_before = nullptr;
  for (const size_t s : order) {
    const std::span<const int32_t> ids = sequences[s];
    const size_t shared = common_prefix(before, ids), own = ids.size() - shared;
    std::vector<RowRange>& path = paths_[s];
    if (path_before != nullptr) path = cut(*path_before, shared);
    if (own > 0) {
      segments_.push_back({tokens_.size(), own, shared, path});
      path.push_back({tokens_.size(), own});
      tokens_.insert(tokens_.end(), ids.end() - static_cast<std::ptrdiff_t>(own), ids.end());
    }
    before = ids;
    path_before = &path;
  }
}

size_t TokenTree::row_from_end(size_t sequence, size_t back) const {
  const std::vector<RowRange>& path = paths_[sequence];
  for (auto range = path.rbegin(); range != path.rend(); ++range) {
    if (back < range->count) return range->row + range->count - 1 - back;
    back -= range->count;
  }
  fail("internal: a row before the start of a sequence");
}

void TokenTree::pad_to(size_t rows) {
  if (tokens_.size() >= rows) return;
  segments_.push_back({tokens_.size(), rows - tokens_.size(), 0, {}});
  tokens_.resize(rows, 0);
}

}  // namespace fathom
