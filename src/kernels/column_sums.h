#pragma once
// Sums over rows, for the gradients of weights that all rows share.

#include <algorithm>
#include <cstddef>

#include "core/buffer.h"
#include "core/threads.h"

namespace fathom {

/// Rows a partial sum. It fixes the order of additions whatever the number of threads; large enough that the
/// partial sums (1/64 of the rows) cost little memory traffic.
constexpr size_t kSumRows = 64;

/// dsum (C) += sum over rows, where add_rows(partial, begin, end) adds rows [begin, end) to partial (C):
/// blocks of kSumRows rows in parallel, then the blocks in order.
template <class S, class AddRows>
void add_column_sums(S* dsum, size_t rows, size_t C, const AddRows& add_rows) {
  const size_t blocks = (rows + kSumRows - 1) / kSumRows;
  Buffer<S> partial(blocks * C);
  parallel_for(blocks, [&](size_t b) {
    add_rows(partial.data() + b * C, b * kSumRows, std::min(rows, (b + 1) * kSumRows));
  });
  constexpr size_t kColumns = 512;
  parallel_ranges(C, kColumns, [&](size_t begin, size_t end) {
    for (size_t b = 0; b < blocks; ++b) {
      for (size_t i = begin; i < end; ++i) dsum[i] += partial[b * C + i];
    }
  });
}

}  // namespace fathom
