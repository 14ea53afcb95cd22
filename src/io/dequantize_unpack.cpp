// GGML's blocks, whole blocks at a time. Layouts and their source: dequantize_ref.cpp, to which this is held.

#include <cstring>

#include "io/dequantize_blocks.h"
#include "io/small_floats.h"

namespace fathom {
namespace {

float half_at(const uint8_t* p) {
  uint16_t half;
  std::memcpy(&half, p, sizeof(half));
  return half_to_float(half);
}

// q (32) = the nibbles of 16 bytes, low ones first, less `minus`.
void nibbles_16(int8_t* q, const uint8_t* from, int minus) {
  for (size_t i = 0; i < 16; ++i) q[i] = static_cast<int8_t>((from[i] & 15) - minus);
  for (size_t i = 0; i < 16; ++i) q[16 + i] = static_cast<int8_t>((from[i] >> 4) - minus);
}

// q (2 n) = the nibbles of n bytes, low ones first.
template <size_t n>
void nibbles(int8_t* q, const uint8_t* from) {
  for (size_t i = 0; i < n; ++i) q[i] = static_cast<int8_t>(from[i] & 15);
  for (size_t i = 0; i < n; ++i) q[n + i] = static_cast<int8_t>(from[i] >> 4);
}

// q (128) = the 2-bit numbers of 32 bytes, times `times`.
void two_bits(int8_t* q, const uint8_t* from, int times) {
  for (int shift = 0; shift < 8; shift += 2, q += 32) {
    for (size_t i = 0; i < 32; ++i) q[i] = static_cast<int8_t>(((from[i] >> shift) & 3) * times);
  }
}

// q (32) += 16 where bit i of 4 bytes is set, less `minus`.
void fifth_bits(int8_t* q, const uint8_t* from, int minus) {
  for (size_t i = 0; i < 32; ++i)
    q[i] = static_cast<int8_t>(q[i] + ((from[i / 8] >> (i % 8)) & 1) * 16 - minus);
}

// q = kIq4Values[q].
void through_table(int8_t* q, size_t n) {
  for (size_t i = 0; i < n; ++i) q[i] = kIq4Values[q[i]];
}

void q4_0(int8_t* q, float& scale, float&, const uint8_t* b) {
  scale = half_at(b);
  nibbles_16(q, b + 2, 8);
}
void q4_1(int8_t* q, float& scale, float& min, const uint8_t* b) {
  scale = half_at(b);
  min = -half_at(b + 2);
  nibbles_16(q, b + 4, 0);
}
void q5_0(int8_t* q, float& scale, float&, const uint8_t* b) {
  scale = half_at(b);
  nibbles_16(q, b + 6, 0);
  fifth_bits(q, b + 2, 16);
}
void q5_1(int8_t* q, float& scale, float& min, const uint8_t* b) {
  scale = half_at(b);
  min = -half_at(b + 2);
  nibbles_16(q, b + 8, 0);
  fifth_bits(q, b + 4, 0);
}
void q8_0(int8_t* q, float& scale, float&, const uint8_t* b) {
  scale = half_at(b);
  std::memcpy(q, b + 2, 32);
}
void iq4_nl(int8_t* q, float& scale, float&, const uint8_t* b) {
  scale = half_at(b);
  nibbles_16(q, b + 2, 0);
  through_table(q, 32);
}

void q2_k(UnpackedBlocks& out, const uint8_t* b) {
  const float d = half_at(b + 80), dmin = half_at(b + 82);
  for (size_t g = 0; g < 16; ++g) {
    out.scale[g] = d * static_cast<float>(b[g] & 15);
    out.min[g] = dmin * static_cast<float>(b[g] >> 4);
  }
  for (size_t half = 0; half < 2; ++half) two_bits(out.q + half * 128, b + 16 + half * 32, 1);
}

void q3_k(UnpackedBlocks& out, const uint8_t* b) {
  const float d = half_at(b + 108);
  const uint8_t* s = b + 96;
  for (size_t g = 0; g < 16; ++g) {
    const int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4, high = (s[8 + g % 4] >> (g / 4 * 2)) & 3;
    out.scale[g] = d * static_cast<float>((low | high << 4) - 32);
    out.min[g] = 0;
  }
  for (size_t half = 0; half < 2; ++half) two_bits(out.q + half * 128, b + 32 + half * 32, 1);
  for (size_t g = 0; g < 8; ++g) {
    int8_t* q = out.q + g * 32;
    for (size_t i = 0; i < 32; ++i) q[i] = static_cast<int8_t>(q[i] + ((b[i] >> g) & 1) * 4 - 4);
  }
}

// The scales and minima of Q4_K and Q5_K.
void k_scales(UnpackedBlocks& out, const uint8_t* b) {
  const float d = half_at(b), dmin = half_at(b + 2);
  const uint8_t* s = b + 4;
  for (size_t g = 0; g < 4; ++g) {
    out.scale[g] = d * static_cast<float>(s[g] & 63);
    out.min[g] = dmin * static_cast<float>(s[g + 4] & 63);
    out.scale[g + 4] = d * static_cast<float>((s[g + 8] & 15) | (s[g] >> 6) << 4);
    out.min[g + 4] = dmin * static_cast<float>((s[g + 8] >> 4) | (s[g + 4] >> 6) << 4);
  }
}

void q4_k(UnpackedBlocks& out, const uint8_t* b) {
  k_scales(out, b);
  for (size_t run = 0; run < 4; ++run) nibbles<32>(out.q + run * 64, b + 16 + run * 32);
}

void q5_k(UnpackedBlocks& out, const uint8_t* b) {
  k_scales(out, b);
  for (size_t run = 0; run < 4; ++run) nibbles<32>(out.q + run * 64, b + 48 + run * 32);
  for (size_t g = 0; g < 8; ++g) {
    int8_t* q = out.q + g * 32;
    for (size_t i = 0; i < 32; ++i) q[i] = static_cast<int8_t>(q[i] | ((b[16 + i] >> g) & 1) << 4);
  }
}

void q6_k(UnpackedBlocks& out, const uint8_t* b) {
  const float d = half_at(b + 208);
  for (size_t g = 0; g < 16; ++g) {
    out.scale[g] = d * static_cast<float>(static_cast<int8_t>(b[192 + g]));
    out.min[g] = 0;
  }
  for (size_t half = 0; half < 2; ++half) {
    int8_t* q = out.q + half * 128;
    int8_t low[128];
    nibbles<64>(low, b + half * 64);
    two_bits(q, b + 128 + half * 32, 16);
    for (size_t i = 0; i < 128; ++i) q[i] = static_cast<int8_t>(q[i] + low[i] - 32);
  }
}

void iq4_xs(UnpackedBlocks& out, const uint8_t* b) {
  const float d = half_at(b);
  for (size_t g = 0; g < 8; ++g) {
    const int low = (b[4 + g / 2] >> (g % 2 * 4)) & 15, high = (b[2 + g / 4] >> (g % 4 * 2)) & 3;
    out.scale[g] = d * static_cast<float>((low | high << 4) - 32);
    out.min[g] = 0;
    nibbles_16(out.q + g * 32, b + 8 + g * 16, 0);
  }
  through_table(out.q, 256);
}

using UnpackSmall = void (*)(int8_t*, float&, float&, const uint8_t*);
using UnpackSuper = void (*)(UnpackedBlocks&, const uint8_t*);

UnpackSmall small_unpacker(StoredType type) {
  switch (type) {
    case StoredType::kQ4_0:
      return q4_0;
    case StoredType::kQ4_1:
      return q4_1;
    case StoredType::kQ5_0:
      return q5_0;
    case StoredType::kQ5_1:
      return q5_1;
    case StoredType::kQ8_0:
      return q8_0;
    case StoredType::kIQ4_NL:
      return iq4_nl;
    default:
      return nullptr;
  }
}

UnpackSuper super_unpacker(StoredType type) {
  switch (type) {
    case StoredType::kQ2_K:
      return q2_k;
    case StoredType::kQ3_K:
      return q3_k;
    case StoredType::kQ4_K:
      return q4_k;
    case StoredType::kQ5_K:
      return q5_k;
    case StoredType::kQ6_K:
      return q6_k;
    case StoredType::kIQ4_XS:
      return iq4_xs;
    default:
      return nullptr;
  }
}

bool has_groups_of_16(StoredType type) {
  return type == StoredType::kQ2_K || type == StoredType::kQ3_K || type == StoredType::kQ6_K;
}

}  // namespace

bool is_block_type(StoredType type) {
  return small_unpacker(type) != nullptr || super_unpacker(type) != nullptr;
}

void unpack_blocks(UnpackedBlocks& out, StoredType type, const std::byte* from, size_t n) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(from);
  out.group = has_groups_of_16(type) ? 16 : 32;
  if (const UnpackSuper unpack = super_unpacker(type)) return unpack(out, bytes);
  const UnpackSmall unpack = small_unpacker(type);
  const size_t block_bytes = stored_type_info(type).block_bytes;
  for (size_t i = 0; i < n / 32; ++i) {
    out.min[i] = 0;
    unpack(out.q + i * 32, out.scale[i], out.min[i], bytes + i * block_bytes);
  }
}

}  // namespace fathom
