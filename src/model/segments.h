#pragma once
// Sequences that share their beginnings, computed once: the rows of a pass as a tree of tokens instead of B
// sequences of T. Evaluation asks for many continuations of one context; the context's rows serve them all,
// and the products see every row of every sequence at once, without padding.
//
// A row's result has the same bits whatever segments stand beside it and however its own past is cut into
// segments: each row's attention goes over the same blocks of keys in the same order.

#include <cstddef>
#include <span>
#include <vector>

namespace fathom {

struct RowRange {
  size_t row, count;
};

/// Rows [row, row + length) are consecutive tokens of a sequence, at positions [position, position + length).
/// `past` is where its positions [0, position) stand, in order; its rows belong to segments without regard to
/// where those begin and end.
struct Segment {
  size_t row = 0, length = 0, position = 0;
  std::vector<RowRange> past;
};

template <class W>
struct BlockContext;
template <class W>
struct BlockSaved;

/// The longest sequence among the segments.
size_t longest_sequence(std::span<const Segment> segments);

/// saved.attn_out = attention of each of context.segments over its past and itself; reads saved.qkv, rotated.
/// saved.lse is not filled: there is no backward.
template <class W>
void segment_attention(BlockSaved<W>& saved, const BlockContext<W>& context);

}  // namespace fathom
