#pragma once
// A checkpoint in several safetensors files, listed by model.safetensors.index.json: {"metadata": {...},
// "weight_map": {tensor: file}}. Format: huggingface/transformers, sharded checkpoints.

#include "io/tensor_store.h"

namespace fathom {

/// The tensors of all files that the index names; also those that it does not name, so that nothing is left
/// over unseen. Errors: Error where the index is broken, names a file outside its folder, or names a tensor
/// that is not in its file; where two files hold the same tensor; and those of SafetensorsFile.
class SafetensorsIndex : public TensorStore {
 public:
  explicit SafetensorsIndex(const std::filesystem::path& index);
};

}  // namespace fathom
