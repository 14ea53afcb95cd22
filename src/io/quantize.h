#pragma once
// From fp32 to what files store, for writing.

#include <cstddef>

#include "io/stored_type.h"

namespace fathom {

/// Q8_0 of n elements, a multiple of 32, into n / 32 * 34 bytes: each block of 32 has the scale max |x| /
/// 127, stored as fp16, and x / scale by the fp32 scale, rounded half away from zero. The bytes are those of
/// quantize_row_q8_0_ref (ggml-org/llama.cpp, ggml/src/ggml-quants.c). On one thread. NaN and infinity give
/// bytes without meaning.
void quantize_q8_0(std::byte* out, const float* x, size_t n);

/// Whether encode_values writes the type: F32, F16, BF16, Q8_0.
bool can_encode(StoredType stored);

/// n fp32 values as `stored`, at `out`, on all threads. Q8_0 takes whole blocks of 32; fp16 overflows to
/// infinity above 65504.
void encode_values(std::byte* out, const float* values, StoredType stored, size_t n);

/// The values that `n` fp32 values have once they are stored so, in place; n as in encode_values.
void round_through(float* values, StoredType stored, size_t n);

}  // namespace fathom
