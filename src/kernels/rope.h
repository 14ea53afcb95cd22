#pragma once
// Rotary position embedding in Hugging Face's pairing: dimension i of a head turns with dimension i + HS/2
// (the paper pairs neighbours; the checkpoints' q and k rows are permuted to match).

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/buffer.h"
#include "core/types.h"

namespace fathom {

/// Radians a position for each pair of dimensions, and a factor on the rotated vectors (YaRN's).
struct RopeFrequencies {
  std::vector<double> radians;  ///< (HS/2)
  double magnitude = 1.0;
};

/// theta^(-2i/HS) for i in [0, HS/2).  Source: Su et al. 2021, arXiv:2104.09864, section 3.2.2.
RopeFrequencies rope_frequencies(size_t HS, double theta);

/// magnitude times cos and sin of position * radians[i]: shapes (positions, HS/2).
template <class S>
struct RopeTable {
  RopeTable(size_t positions, const RopeFrequencies& frequencies);
  size_t positions, half;
  Buffer<S> cos, sin;
};

/// Rotates `heads` heads of size HS in place in each of `rows` rows that are `stride` elements apart. Row r
/// has position first_position + r % T. `inverse` turns back: the backward pass, since a rotation's transpose
/// is its inverse (with a magnitude other than 1, the transpose is what is computed). `bias` (heads * HS) is
/// added before the rotation where it is not null (Qwen2's q and k biases); forward only.
template <class W>
void rope(W* x, size_t rows, size_t stride, size_t heads, size_t HS, size_t T, size_t first_position,
          const RopeTable<Stream<W>>& table, bool inverse, const Stream<W>* bias = nullptr);

/// A block of a head in some rows of a batch: pairs first_pair to first_pair + pairs, rows first_row to
/// first_row + rows, ld apart.
struct RopeBlock {
  size_t first_row, rows, first_pair, pairs, ld;
  size_t T, first_position;  ///< as for `rope`
  bool inverse = false;
};
/// Where a block's rows begin in a table, one after the other.
class RopeRows {
 public:
  RopeRows(const RopeBlock& block, size_t half)
      : t_(block.first_row % block.T),
        T_(block.T),
        half_(half),
        first_(block.first_position * half + block.first_pair) {}
  size_t next() {
    const size_t at = first_ + t_ * half_;
    t_ = t_ + 1 == T_ ? 0 : t_ + 1;
    return at;
  }

 private:
  size_t t_, T_, half_, first_;
};
/// Rotates pairs (a[r * ld + i], b[r * ld + i]) as `rope` does, bit for bit, by the calling thread.
template <class W>
void rope_block(W* a, W* b, const RopeBlock& block, const RopeTable<Stream<W>>& table);

template <class W>
void rope_block_ref(W* a, W* b, const RopeBlock& block, const RopeTable<Stream<W>>& table);
template <class W>
void rope_ref(W* x, size_t rows, size_t stride, size_t heads, size_t HS, size_t T, size_t first_position,
              const RopeTable<Stream<W>>& table, bool inverse, const Stream<W>* bias = nullptr);

}  // namespace fathom
