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

template <class W>
void rope_ref(W* x, size_t rows, size_t stride, size_t heads, size_t HS, size_t T, size_t first_position,
              const RopeTable<Stream<W>>& table, bool inverse, const Stream<W>* bias = nullptr);

}  // namespace fathom
