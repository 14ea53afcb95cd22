#pragma once
// Writes GGUF version 3. Format: gguf.h.

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/types.h"
#include "io/gguf.h"

namespace fathom {

/// Metadata in the order in which it is to stand.
using GgufPairs = std::vector<std::pair<std::string, GgufValue>>;

/// Values of the types that llama.cpp expects.
GgufValue gguf_uint32(uint32_t value);
GgufValue gguf_float32(float value);
GgufValue gguf_bool(bool value);
GgufValue gguf_string(std::string value);
GgufValue gguf_strings(std::vector<std::string> values);
GgufValue gguf_float32s(const std::vector<float>& values);
GgufValue gguf_int32s(const std::vector<int32_t>& values);

/// A tensor to be written: fp32 or bf16 values in memory, in Hugging Face's order.
struct GgufTensor {
  std::string name;           ///< GGUF's: "blk.0.attn_q.weight".
  std::vector<size_t> shape;  ///< Outermost dimension first, one to four.
  const void* data;
  DType memory;  ///< kF32 or kBf16
  /// kF32, kF16, kBf16 or kQ8_0, the last for rows of whole blocks of 32. fp16 overflows to infinity above
  /// 65504.
  StoredType stored;
  /// Makes all values when their turn comes, instead of `data` (fp32): a model larger than memory is written
  /// a tensor at a time.
  std::function<void(float* out)> make = {};
};

/// Writes atomically, in the given order, with an alignment of 32, one chunk of a tensor in memory at a time.
/// Errors: Error naming the tensor or key that can't be written so; a name that stands twice; a full disk and
/// the like.
void write_gguf(const std::filesystem::path& path, const GgufPairs& metadata,
                const std::vector<GgufTensor>& tensors);

}  // namespace fathom
