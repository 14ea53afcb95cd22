#include "eval/token_tree.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

using Ids = std::vector<int32_t>;

TokenTree tree_of(const std::vector<Ids>& sequences) {
  return TokenTree(std::vector<std::span<const int32_t>>(sequences.begin(), sequences.end()));
}

/// The ids of a sequence, read back through its rows.
Ids read_back(const TokenTree& tree, size_t sequence, size_t length) {
  Ids ids;
  for (size_t back = length; back-- > 0;) ids.push_back(tree.tokens()[tree.row_from_end(sequence, back)]);
  return ids;
}

TEST(TokenTree, HoldsWhatSequencesHaveInCommonOnce) {
  const std::vector<Ids> sequences = {{1, 2, 3, 4}, {1, 2, 3, 5, 6}, {7}, {1, 2, 3}, {1, 2, 3, 4}, {1, 2, 9}};
  const TokenTree tree = tree_of(sequences);
  EXPECT_EQ(tree.rows(), 3u + 1 + 2 + 1 + 1);
  for (size_t s = 0; s < sequences.size(); ++s)
    EXPECT_EQ(read_back(tree, s, sequences[s].size()), sequences[s]);
  size_t rows = 0;
  for (const Segment& segment : tree.segments()) {
    EXPECT_EQ(segment.row, rows);  // one behind the other, none empty
    EXPECT_GT(segment.length, 0u);
    rows += segment.length;
    size_t past = 0;
    for (const RowRange& range : segment.past) past += range.count;
    EXPECT_EQ(past, segment.position);
  }
  EXPECT_EQ(rows, tree.rows());
  EXPECT_EQ(longest_sequence(tree.segments()), 5u);
}

TEST(TokenTree, PadsWithRowsOfTheirOwn) {
  TokenTree tree = tree_of({{4, 5}});
  tree.pad_to(2);
  EXPECT_EQ(tree.segments().size(), 1u);
  tree.pad_to(8);
  EXPECT_EQ(tree.rows(), 8u);
  EXPECT_EQ(tree.segments().size(), 2u);
  EXPECT_EQ(tree.segments()[1].position, 0u);
  EXPECT_EQ(read_back(tree, 0, 2), (Ids{4, 5}));
}

TEST(TokenTree, CountsACommonBeginning) {
  const Ids a{1, 2, 3}, b{1, 2}, c{2};
  EXPECT_EQ(common_prefix(a, b), 2u);
  EXPECT_EQ(common_prefix(a, c), 0u);
  EXPECT_EQ(common_prefix(a, {}), 0u);
}

}  // namespace
}  // namespace fathom
