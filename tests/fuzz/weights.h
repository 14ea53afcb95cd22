#pragma once
// Reads every weight of a store, as a program that opened it would.

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "io/dequantize.h"

namespace fathom::fuzz {

inline void read_all(const TensorStore& store) {
  for (const auto& [name, tensor] : store.tensors()) {
    tensor.prefetch();
    try {
      const StoredWeight weight = find_weight(store, name);
      const size_t rows = std::min<size_t>(tensor.rows(), 8), row = tensor.row_elements();
      if (row > (size_t{1} << 16)) continue;
      std::vector<float> out(rows * row);
      dequantize_rows(out.data(), weight, 0, rows);
      dequantize_rows(out.data(), weight, tensor.rows() - rows, rows);
    } catch (const Error&) {  // no weight: an integer, or scales that do not fit
    }
    tensor.drop();
  }
}

}  // namespace fathom::fuzz
