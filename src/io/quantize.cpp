#include "io/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "io/small_floats.h"

namespace fathom {
namespace {

constexpr size_t kBlock = 32;

// |value| is at most 127, within rounding, where x is finite; what has no int8_t becomes 0.
std::byte to_byte(float value) {
  const float rounded = std::round(value);
  return static_cast<std::byte>(std::abs(rounded) <= 127.0f ? static_cast<int8_t>(rounded) : int8_t{0});
}

}  // namespace

void quantize_q8_0(std::byte* out, const float* x, size_t n) {
  for (size_t i = 0; i < n; i += kBlock, x += kBlock, out += 2 + kBlock) {
    float largest = 0;
    for (size_t k = 0; k < kBlock; ++k) largest = std::max(largest, std::abs(x[k]));
    const float scale = largest / 127.0f, inverse = scale != 0 ? 1.0f / scale : 0.0f;
    const uint16_t half = float_to_half(scale);
    std::memcpy(out, &half, sizeof(half));
    for (size_t k = 0; k < kBlock; ++k) out[2 + k] = to_byte(x[k] * inverse);
  }
}

}  // namespace fathom
