#pragma once
// Internals of dequantize.h: GGML's blocks as bytes with a scale and a minimum a group, which one vector loop
// turns into numbers. Unpacking moves bits within bytes, which the compiler does sixteen at a time.

#include <cstddef>
#include <cstdint>

#include "core/types.h"
#include "io/stored_type.h"

namespace fathom {

/// The 16 levels of IQ4_NL and IQ4_XS (kvalues_iq4nl of ggml-common.h).
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

/// Elements unpacked at a time: one block of 256, or eight of 32.
inline constexpr size_t kUnpacked = 256;

/// Element i is scale[g] * q[i] - min[g] in fp32, each operation rounded, of group g = i / group.
struct UnpackedBlocks {
  size_t group = 32;  ///< 16 or 32
  alignas(64) int8_t q[kUnpacked];
  float scale[kUnpacked / 16];
  float min[kUnpacked / 16];
};

/// Unpacks the blocks of GGML type `type` at `from` that hold `n` elements: a whole number of blocks, at most
/// kUnpacked elements.
void unpack_blocks(UnpackedBlocks& out, StoredType type, const std::byte* from, size_t n);
/// Whether unpack_blocks knows the type.
bool is_block_type(StoredType type);

/// to (n) = the elements of `from`. To: float, bf16. On one thread, by the instruction set in force, which
/// must not be scalar.
template <class To>
void unpacked_to(To* to, const UnpackedBlocks& from, size_t n);

/// to (n) = scale * from, from of F32, F16, BF16, or F8, anywhere in memory. As unpacked_to.
template <class To>
void plain_to(To* to, StoredType type, const std::byte* from, float scale, size_t n);

/// Throws: the callers of dequantize.h pass weights alone.
[[noreturn]] void refuse_type(StoredType type);

}  // namespace fathom
