#pragma once
// The memory that kernels keep for themselves between calls: for forecasts.

#include <cstddef>

#include "core/types.h"

namespace fathom {

/// The sizes of a training step that scratch memory depends on.
struct KernelSizes {
  DType compute;          ///< type of the products
  size_t T, HS;           ///< sequence and head
  size_t C, F, q, kv, V;  ///< hidden size; of the MLP; of all heads of queries, of keys; vocabulary
  size_t rows;            ///< of a micro-batch
  bool caps_scores = false, caps_logits = false;  ///< whether attention and the head have a softcap
};

/// Bytes, at most, with the threads and the instruction set in force; oneDNN's own are not known. 0 for
/// double, whose references keep nothing.
size_t kernel_scratch_bytes(const KernelSizes& sizes);

}  // namespace fathom
