#pragma once
// What the drivers of gemm share: cutting lengths into blocks, scratch that a thread keeps, where C lies.

#include <algorithm>
#include <cstddef>

#include "core/buffer.h"
#include "kernels/gemm_kernels.h"
#include "kernels/rounding.h"

namespace fathom::gemm_detail {

/// A length cut into equal parts of at most `limit`, each a multiple of `multiple` but for the last.
struct Cut {
  Cut(size_t length_, size_t limit, size_t multiple)
      : length(length_), part(round_up(ceil_div(length_, ceil_div(length_, limit)), multiple)) {}
  size_t count() const { return ceil_div(length, part); }
  size_t begin(size_t i) const { return i * part; }
  size_t size(size_t i) const { return std::min(part, length - i * part); }

  size_t length, part;
};

/// The corner of an operand that begins at a line and a position of it.
inline Source corner(const MatrixIn& m, size_t line, size_t position) {
  const Source s{static_cast<const std::byte*>(m.data), m.dtype, m.ld};
  return {s.at(line, position), m.dtype, m.ld};
}

/// All of C and of the addend, without partial sums.
inline Store whole(const MatrixOut& c, const Addend& addend) {
  return {c.data, c.dtype, c.ld, nullptr, 0, addend.data, addend.ld, static_cast<float>(addend.scale)};
}

/// C comes from L2 or further away, and its short rows escape the hardware's prefetchers: the weight
/// gradient of a large vocabulary would run at half the speed. Inlined by force: g++ 12 takes a function
/// that only prefetches for one without effect, and drops the call.
[[gnu::always_inline]] inline void prefetch(const Store& s, size_t rows, size_t cols) {
  const size_t size = dtype_size(s.dtype);
  for (size_t i = 0; i < rows; ++i) {
    for (size_t byte = 0; byte < cols * size; byte += 64)
      __builtin_prefetch(static_cast<std::byte*>(s.out) + i * s.ld * size + byte);
  }
}

}  // namespace fathom::gemm_detail
