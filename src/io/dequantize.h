#pragma once
// From a checkpoint's stored elements to numbers that kernels take: fp32 or bf16 (or double), some rows at a
// time, so that no more than is needed stands in memory. GGML's block layouts: dequantize_ref.cpp.

#include <cstddef>
#include <string>

#include "core/types.h"
#include "io/tensor_store.h"

namespace fathom {

/// The sides of the blocks of a weight that share a scale: config.json's
/// quantization_config.weight_block_size.
struct BlockShape {
  size_t rows = 128;
  size_t columns = 128;
};

/// A tensor and what else it takes to know its values.
struct StoredWeight {
  const TensorView* tensor = nullptr;
  /// Null, or F32 or BF16 (ceil(rows / block.rows), ceil(columns / block.columns)): each block's stored
  /// elements are multiplied by its entry. DeepSeek-V3 stores F8_E4M3 that way, as `X.weight` and
  /// `X.weight_scale_inv`, which is the scale and not its inverse (deepseek-ai/DeepSeek-V3:
  /// README_WEIGHTS.md; inference/kernel.py, weight_dequant).
  const TensorView* scales = nullptr;
  BlockShape block;
};

/// The weight of that name, with its scales where the store has `name`_scale_inv. Both must outlive what is
/// returned. Errors: Error where it is missing, is of a type that holds no weights (integers, or GGML types
/// that are not read), or its scales do not fit; where another kind of scale stands beside it
/// (`name`_scale: per tensor or row), which is not read.
StoredWeight find_weight(const TensorStore& store, const std::string& name, BlockShape block = {});

/// Rows [begin, begin + count) of the weight (see TensorView::rows) into `out` (count, row_elements), on all
/// threads. To: double, float, bf16. bf16 is fp32 rounded to nearest. Errors: none for what find_weight gave
/// and a range inside it.
template <class To>
void dequantize_rows(To* out, const StoredWeight& weight, size_t begin, size_t count);

/// All of it.
template <class To>
void dequantize(To* out, const StoredWeight& weight) {
  dequantize_rows(out, weight, 0, weight.tensor->rows());
}

/// All of a tensor without scales. Errors: as find_weight.
template <class To>
void read_tensor(To* out, const TensorView& tensor);

/// Element `i` of `tensor`, in row-major order, without scales: the plain reference. It reads this element's
/// own bits alone.
double element_ref(const TensorView& tensor, size_t i);

/// dequantize_rows by element_ref, on one thread.
template <class To>
void dequantize_rows_ref(To* out, const StoredWeight& weight, size_t begin, size_t count);

}  // namespace fathom
