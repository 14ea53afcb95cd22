#pragma once
// From fp32 to GGML's blocks, for writing GGUF.

#include <cstddef>

namespace fathom {

/// Q8_0 of n elements, a multiple of 32, into n / 32 * 34 bytes: each block of 32 has the scale max |x| /
/// 127, stored as fp16, and x / scale by the fp32 scale, rounded half away from zero. The bytes are those of
/// quantize_row_q8_0_ref (ggml-org/llama.cpp, ggml/src/ggml-quants.c). On one thread. NaN and infinity give
/// bytes without meaning.
void quantize_q8_0(std::byte* out, const float* x, size_t n);

}  // namespace fathom
