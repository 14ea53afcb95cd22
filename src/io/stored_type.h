#pragma once
// The types in which checkpoint files store elements: plain ones, and GGML's blocks.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/types.h"

namespace fathom {

/// Named as safetensors and GGML name them. Those from kI64 on can stand in a file and are listed, but are no
/// weights that this program reads.
enum class StoredType {
  kF64,
  kF32,
  kF16,
  kBf16,
  kF8E4M3,
  kF8E5M2,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool,
  kF8E8M0,
  kQ8_1,
  kQ8_K,
  kIQ1_S,
  kIQ1_M,
  kIQ2_XXS,
  kIQ2_XS,
  kIQ2_S,
  kIQ3_XXS,
  kIQ3_S,
  kTQ1_0,
  kTQ2_0,
  kMXFP4,
};

/// How a type lies in a file: `block_bytes` bytes hold `block_elements` elements that lie side by side in a
/// row.
struct StoredTypeInfo {
  StoredType type;
  std::string_view name;
  size_t block_elements;
  size_t block_bytes;
  int ggml_id;  ///< The number of the type in GGUF; -1: none.
  bool weight;  ///< Whether dequantize.h reads it.
};

const StoredTypeInfo& stored_type_info(StoredType type);
inline std::string_view stored_type_name(StoredType type) { return stored_type_info(type).name; }

/// How values of a type in memory are stored as they are.
StoredType stored_type_of(DType type);

/// The type of that name in safetensors ("BF16"), or of that number in GGUF; null where there is none.
const StoredTypeInfo* find_safetensors_type(std::string_view name);
const StoredTypeInfo* find_ggml_type(uint32_t id);

}  // namespace fathom
