// The plain reference: one element at a time, from its own bits.
//
// Layouts of GGML's blocks: the structs block_q4_0 ... block_iq4_xs of ggml/src/ggml-common.h, and what
// dequantize_row_* of ggml/src/ggml-quants.c makes of them (ggml-org/llama.cpp); the same in numpy in
// gguf-py, gguf/quants.py. Rounding follows the latter: scale times sub-scale, times the element, minus the
// minimum, each rounded to fp32.

#include <cstring>

#include "io/dequantize.h"
#include "io/dequantize_blocks.h"
#include "io/small_floats.h"

namespace fathom {
namespace {

// memcpy, since a tensor's offset in the file need not be aligned to its type.
template <class T>
T load_at(const std::byte* data, size_t i = 0) {
  T value;
  std::memcpy(&value, data + i * sizeof(T), sizeof(T));
  return value;
}

float half_at(const std::byte* p) { return half_to_float(load_at<uint16_t>(p)); }
int byte_at(const std::byte* p) { return std::to_integer<int>(*p); }
int bits(const std::byte* p, int shift, int mask) { return (byte_at(p) >> shift) & mask; }

// The 4-bit number of element i of a block of 32: the lower half of the block in the low nibbles.
int nibble(const std::byte* q, size_t i) { return bits(q + i % 16, i < 16 ? 0 : 4, 15); }

// Q4_0: fp16 d, 16 bytes of nibbles. Q4_1: fp16 d, fp16 m, nibbles. Q5_0, Q5_1: the fifth bits, one an
// element, in 4 bytes before the nibbles.
float q4_0(const std::byte* b, size_t i) { return half_at(b) * static_cast<float>(nibble(b + 2, i) - 8); }
float q4_1(const std::byte* b, size_t i) {
  return half_at(b) * static_cast<float>(nibble(b + 4, i)) + half_at(b + 2);
}
float q5_0(const std::byte* b, size_t i) {
  const int high = bits(b + 2 + i / 8, static_cast<int>(i % 8), 1);
  return half_at(b) * static_cast<float>((nibble(b + 6, i) | high << 4) - 16);
}
float q5_1(const std::byte* b, size_t i) {
  const int high = bits(b + 4 + i / 8, static_cast<int>(i % 8), 1);
  return half_at(b) * static_cast<float>(nibble(b + 8, i) | high << 4) + half_at(b + 2);
}
// Q8_0: fp16 d, 32 signed bytes.
float q8_0(const std::byte* b, size_t i) {
  return half_at(b) * static_cast<float>(load_at<int8_t>(b + 2, i));
}

// Q2_K: 16 bytes, each a 4-bit scale and a 4-bit minimum of 16 elements; 64 bytes of 2-bit numbers; fp16 d,
// dmin. Of each run of 128 elements, 32 bytes hold elements 0-31 in bits 0-1, 32-63 in bits 2-3, ...
int two_bits(const std::byte* q, size_t i) {
  return bits(q + i / 128 * 32 + i % 32, static_cast<int>(i % 128 / 32 * 2), 3);
}
float q2_k(const std::byte* b, size_t i) {
  const std::byte* group = b + i / 16;
  const float scale = half_at(b + 80) * static_cast<float>(bits(group, 0, 15));
  const float min = half_at(b + 82) * static_cast<float>(bits(group, 4, 15));
  return scale * static_cast<float>(two_bits(b + 16, i)) - min;
}

// Q3_K: 32 bytes of third bits, which say "do not subtract 4"; 64 bytes of 2-bit numbers as in Q2_K; 12 bytes
// of 16 scales of 6 bits, less 32: low nibbles in bytes 0-7, the upper bits in bytes 8-11; fp16 d.
float q3_k(const std::byte* b, size_t i) {
  const std::byte* scales = b + 96;
  const size_t g = i / 16;
  const int low = bits(scales + g % 8, g < 8 ? 0 : 4, 15);
  const int high = bits(scales + 8 + g % 4, static_cast<int>(g / 4 * 2), 3);
  const float scale = half_at(b + 108) * static_cast<float>((low | high << 4) - 32);
  const int third = bits(b + i % 32, static_cast<int>(i / 32), 1);
  return scale * static_cast<float>(two_bits(b + 32, i) - (third != 0 ? 0 : 4));
}

// The 6-bit scale and minimum of group g of 8 in Q4_K and Q5_K: the first four groups' in the low 6 bits of
// bytes 0-3 and 4-7; the others' low 4 bits in the nibbles of bytes 8-11, their upper 2 in the top bits of
// bytes 0-3 and 4-7.
int k_scale(const std::byte* s, size_t g) {
  return g < 4 ? bits(s + g, 0, 63) : bits(s + g + 4, 0, 15) | bits(s + g - 4, 6, 3) << 4;
}
int k_min(const std::byte* s, size_t g) {
  return g < 4 ? bits(s + g + 4, 0, 63) : bits(s + g + 4, 4, 15) | bits(s + g, 6, 3) << 4;
}
// Q4_K: fp16 d, dmin; 12 bytes of scales; 128 bytes of nibbles: of each run of 64 elements the first 32 in
// the low nibbles. Q5_K: 32 bytes of fifth bits before the nibbles, bit g for group g of 32.
float k_value(const std::byte* b, size_t g, int q) {
  const float scale = half_at(b) * static_cast<float>(k_scale(b + 4, g));
  const float min = half_at(b + 2) * static_cast<float>(k_min(b + 4, g));
  return scale * static_cast<float>(q) - min;
}
int k_nibble(const std::byte* q, size_t i) { return bits(q + i / 64 * 32 + i % 32, i % 64 < 32 ? 0 : 4, 15); }
float q4_k(const std::byte* b, size_t i) { return k_value(b, i / 32, k_nibble(b + 16, i)); }
float q5_k(const std::byte* b, size_t i) {
  const int high = bits(b + 16 + i % 32, static_cast<int>(i / 32), 1);
  return k_value(b, i / 32, k_nibble(b + 48, i) | high << 4);
}

// Q6_K: 128 bytes of low nibbles, 64 of upper 2 bits, 16 signed scales of 16 elements, fp16 d. Of each run of
// 128 elements, 64 bytes hold the low nibbles of elements 0-63 in bits 0-3 and of 64-127 in bits 4-7; 32
// bytes hold the upper bits as Q2_K's.
float q6_k(const std::byte* b, size_t i) {
  const int low = bits(b + i / 128 * 64 + i % 64, i % 128 < 64 ? 0 : 4, 15);
  const int q = (low | two_bits(b + 128, i) << 4) - 32;
  const float scale = half_at(b + 208) * static_cast<float>(load_at<int8_t>(b + 192, i / 16));
  return scale * static_cast<float>(q);
}

// IQ4_NL: as Q4_0, through a table. IQ4_XS: fp16 d; the upper 2 bits of 8 scales in 2 bytes, the low nibbles
// in 4, less 32; 8 groups of 32 laid out as IQ4_NL's.
float iq4_nl(const std::byte* b, size_t i) {
  return half_at(b) * static_cast<float>(kIq4Values[nibble(b + 2, i)]);
}
float iq4_xs(const std::byte* b, size_t i) {
  const size_t g = i / 32;
  const int low = bits(b + 4 + g / 2, g % 2 == 0 ? 0 : 4, 15);
  const int high = (load_at<uint16_t>(b + 2) >> 2 * g) & 3;
  const float scale = half_at(b) * static_cast<float>((low | high << 4) - 32);
  return scale * static_cast<float>(kIq4Values[nibble(b + 8 + g * 16, i % 32)]);
}

float block_element(StoredType type, const std::byte* b, size_t i) {
  switch (type) {
    case StoredType::kF32:
      return load_at<float>(b);
    case StoredType::kF16:
      return half_at(b);
    case StoredType::kBf16:
      return static_cast<float>(load_at<bf16>(b));
    case StoredType::kF8E4M3:
      return e4m3_to_float(load_at<uint8_t>(b));
    case StoredType::kF8E5M2:
      return e5m2_to_float(load_at<uint8_t>(b));
    case StoredType::kQ4_0:
      return q4_0(b, i);
    case StoredType::kQ4_1:
      return q4_1(b, i);
    case StoredType::kQ5_0:
      return q5_0(b, i);
    case StoredType::kQ5_1:
      return q5_1(b, i);
    case StoredType::kQ8_0:
      return q8_0(b, i);
    case StoredType::kQ2_K:
      return q2_k(b, i);
    case StoredType::kQ3_K:
      return q3_k(b, i);
    case StoredType::kQ4_K:
      return q4_k(b, i);
    case StoredType::kQ5_K:
      return q5_k(b, i);
    case StoredType::kQ6_K:
      return q6_k(b, i);
    case StoredType::kIQ4_NL:
      return iq4_nl(b, i);
    case StoredType::kIQ4_XS:
      return iq4_xs(b, i);
    default:
      refuse_type(type);
  }
}

}  // namespace

double element_ref(const TensorView& tensor, size_t i) {
  if (tensor.type == StoredType::kF64) return load_at<double>(tensor.data, i);
  const StoredTypeInfo& info = stored_type_info(tensor.type);
  const std::byte* block = tensor.data + i / info.block_elements * info.block_bytes;
  return static_cast<double>(block_element(tensor.type, block, i % info.block_elements));
}

template <class To>
void dequantize_rows_ref(To* out, const StoredWeight& weight, size_t begin, size_t count) {
  const size_t C = weight.tensor->row_elements();
  if (C == 0) return;
  const size_t scale_columns = (C + weight.block.columns - 1) / weight.block.columns;
  for (size_t r = begin; r < begin + count; ++r) {
    for (size_t c = 0; c < C; ++c) {
      double value = element_ref(*weight.tensor, r * C + c);
      if (weight.scales != nullptr) {
        const size_t s = r / weight.block.rows * scale_columns + c / weight.block.columns;
        const auto scale = static_cast<float>(element_ref(*weight.scales, s));
        value = static_cast<double>(static_cast<float>(value) * scale);
      }
      if constexpr (std::is_same_v<To, double>)
        *out++ = value;
      else
        *out++ = static_cast<To>(static_cast<float>(value));
    }
  }
}

template void dequantize_rows_ref(double*, const StoredWeight&, size_t, size_t);
template void dequantize_rows_ref(float*, const StoredWeight&, size_t, size_t);
template void dequantize_rows_ref(bf16*, const StoredWeight&, size_t, size_t);

}  // namespace fathom
