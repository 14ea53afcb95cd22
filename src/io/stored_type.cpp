#include "io/stored_type.h"

#include <iterator>

namespace fathom {
namespace {

using T = StoredType;

// GGML's numbers and sizes: enum ggml_type in ggml.h and the block structs of ggml-common.h of
// ggml-org/llama.cpp; the same stand in gguf-py (GGMLQuantizationType, GGML_QUANT_SIZES). Safetensors' names:
// its README.
constexpr StoredTypeInfo kTypes[] = {
    {T::kF64, "F64", 1, 8, 28, true},
    {T::kF32, "F32", 1, 4, 0, true},
    {T::kF16, "F16", 1, 2, 1, true},
    {T::kBf16, "BF16", 1, 2, 30, true},
    {T::kF8E4M3, "F8_E4M3", 1, 1, -1, true},
    {T::kF8E5M2, "F8_E5M2", 1, 1, -1, true},
    {T::kQ4_0, "Q4_0", 32, 2 + 16, 2, true},
    {T::kQ4_1, "Q4_1", 32, 2 + 2 + 16, 3, true},
    {T::kQ5_0, "Q5_0", 32, 2 + 4 + 16, 6, true},
    {T::kQ5_1, "Q5_1", 32, 2 + 2 + 4 + 16, 7, true},
    {T::kQ8_0, "Q8_0", 32, 2 + 32, 8, true},
    {T::kQ2_K, "Q2_K", 256, 16 + 64 + 2 + 2, 10, true},
    {T::kQ3_K, "Q3_K", 256, 32 + 64 + 12 + 2, 11, true},
    {T::kQ4_K, "Q4_K", 256, 2 + 2 + 12 + 128, 12, true},
    {T::kQ5_K, "Q5_K", 256, 2 + 2 + 12 + 32 + 128, 13, true},
    {T::kQ6_K, "Q6_K", 256, 128 + 64 + 16 + 2, 14, true},
    {T::kIQ4_NL, "IQ4_NL", 32, 2 + 16, 20, true},
    {T::kIQ4_XS, "IQ4_XS", 256, 2 + 2 + 4 + 128, 23, true},
    {T::kI64, "I64", 1, 8, 27, false},
    {T::kI32, "I32", 1, 4, 26, false},
    {T::kI16, "I16", 1, 2, 25, false},
    {T::kI8, "I8", 1, 1, 24, false},
    {T::kU64, "U64", 1, 8, -1, false},
    {T::kU32, "U32", 1, 4, -1, false},
    {T::kU16, "U16", 1, 2, -1, false},
    {T::kU8, "U8", 1, 1, -1, false},
    {T::kBool, "BOOL", 1, 1, -1, false},
    {T::kF8E8M0, "F8_E8M0", 1, 1, -1, false},
    {T::kQ8_1, "Q8_1", 32, 2 + 2 + 32, 9, false},
    {T::kQ8_K, "Q8_K", 256, 4 + 256 + 32, 15, false},
    {T::kIQ1_S, "IQ1_S", 256, 2 + 32 + 16, 19, false},
    {T::kIQ1_M, "IQ1_M", 256, 32 + 16 + 8, 29, false},
    {T::kIQ2_XXS, "IQ2_XXS", 256, 2 + 64, 16, false},
    {T::kIQ2_XS, "IQ2_XS", 256, 2 + 64 + 8, 17, false},
    {T::kIQ2_S, "IQ2_S", 256, 2 + 64 + 16, 22, false},
    {T::kIQ3_XXS, "IQ3_XXS", 256, 2 + 64 + 32, 18, false},
    {T::kIQ3_S, "IQ3_S", 256, 2 + 64 + 32 + 8 + 4, 21, false},
    {T::kTQ1_0, "TQ1_0", 256, 2 + 52, 34, false},
    {T::kTQ2_0, "TQ2_0", 256, 2 + 64, 35, false},
    {T::kMXFP4, "MXFP4", 32, 1 + 16, 39, false},
};

// The table is indexed by the enum.
constexpr bool in_order() {
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    if (static_cast<size_t>(kTypes[i].type) != i) return false;
  }
  return true;
}
static_assert(in_order());

}  // namespace

const StoredTypeInfo& stored_type_info(StoredType type) { return kTypes[static_cast<size_t>(type)]; }

StoredType stored_type_of(DType type) {
  return type == DType::kF64 ? StoredType::kF64 : type == DType::kF32 ? StoredType::kF32 : StoredType::kBf16;
}

const StoredTypeInfo* find_safetensors_type(std::string_view name) {
  for (const StoredTypeInfo& info : kTypes) {
    if (info.block_elements == 1 && info.name == name) return &info;
  }
  return nullptr;
}

const StoredTypeInfo* find_ggml_type(uint32_t id) {
  for (const StoredTypeInfo& info : kTypes) {
    if (info.ggml_id >= 0 && static_cast<uint32_t>(info.ggml_id) == id) return &info;
  }
  return nullptr;
}

}  // namespace fathom
