// Transposes 32-bit units for packing. Baseline instructions serve every instruction set: what is transposed
// is a weight matrix, once for all rows of x, so that wider registers would not show.

#include <algorithm>
#include <cstring>

#include "kernels/gemm_kernels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace fathom::gemm_detail {
namespace {

// Transposes a 4 x 4 block.
void transpose_4x4(uint32_t* to, size_t to_ld, const std::byte* from, size_t line_bytes) {
#if defined(__SSE2__)
  const auto row = [&](size_t i) {
    return _mm_loadu_ps(reinterpret_cast<const float*>(from + i * line_bytes));
  };
  __m128 r0 = row(0), r1 = row(1), r2 = row(2), r3 = row(3);
  _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
  _mm_storeu_ps(reinterpret_cast<float*>(to), r0);
  _mm_storeu_ps(reinterpret_cast<float*>(to + to_ld), r1);
  _mm_storeu_ps(reinterpret_cast<float*>(to + 2 * to_ld), r2);
  _mm_storeu_ps(reinterpret_cast<float*>(to + 3 * to_ld), r3);
#else
  for (size_t i = 0; i < 4; ++i) {
    for (size_t j = 0; j < 4; ++j) std::memcpy(to + j * to_ld + i, from + i * line_bytes + 4 * j, 4);
  }
#endif
}

}  // namespace

void transpose_units(uint32_t* to, size_t width, const std::byte* from, size_t line_bytes, size_t lines,
                     size_t units) {
  const size_t block_lines = lines / 4 * 4, block_units = units / 4 * 4;
  for (size_t u = 0; u < block_units; u += 4) {
    for (size_t l = 0; l < block_lines; l += 4)
      transpose_4x4(to + u * width + l, width, from + l * line_bytes + u * 4, line_bytes);
  }
  const auto one = [&](size_t u, size_t l) {
    std::memcpy(to + u * width + l, from + l * line_bytes + u * 4, 4);
  };
  for (size_t u = 0; u < units; ++u) {
    for (size_t l = u < block_units ? block_lines : 0; l < lines; ++l) one(u, l);
    std::fill(to + u * width + lines, to + (u + 1) * width, 0u);
  }
}

}  // namespace fathom::gemm_detail
