#pragma once
// Token sequences as a tree: what several have in common stands once.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/segments.h"

namespace fathom {

/// The rows of a pass for some sequences. A sequence that begins as another does takes its rows as far as the
/// two are equal; what it has beyond them is a segment of its own.
class TokenTree {
 public:
  /// Each sequence has one id or more.
  explicit TokenTree(std::span<const std::span<const int32_t>> sequences);

  std::span<const int32_t> tokens() const { return tokens_; }
  std::span<const Segment> segments() const { return segments_; }
  size_t rows() const { return tokens_.size(); }
  /// The row of the last token but `back` of a sequence; back < its length.
  size_t row_from_end(size_t sequence, size_t back) const;

  /// Adds rows that nobody reads until there are `rows`.
  void pad_to(size_t rows);

 private:
  std::vector<int32_t> tokens_;
  std::vector<Segment> segments_;
  std::vector<std::vector<RowRange>> paths_;  // of each sequence, all its rows
};

/// How many ids two sequences have in common at their start.
size_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b);

}  // namespace fathom
