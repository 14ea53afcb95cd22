#include "io/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/buffer.h"
#include "core/threads.h"
#include "io/dequantize.h"
#include "io/small_floats.h"
#include "kernels/vector_ops.h"

namespace fathom {
namespace {

constexpr size_t kBlock = 32;
constexpr size_t kGrain = 16384;  // elements a thread takes at a time

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

bool can_encode(StoredType stored) {
  return stored == StoredType::kF32 || stored == StoredType::kF16 || stored == StoredType::kBf16 ||
         stored == StoredType::kQ8_0;
}

void encode_values(std::byte* out, const float* values, StoredType stored, size_t n) {
  if (stored == StoredType::kBf16) return convert(reinterpret_cast<bf16*>(out), values, n);
  if (stored == StoredType::kF32) {
    std::memcpy(out, values, n * sizeof(float));
    return;
  }
  parallel_ranges(n, kGrain, [&](size_t begin, size_t end) {
    if (stored == StoredType::kQ8_0) return quantize_q8_0(out + begin / 32 * 34, values + begin, end - begin);
    auto* halves = reinterpret_cast<uint16_t*>(out);
    for (size_t i = begin; i < end; ++i) halves[i] = float_to_half(values[i]);
  });
}

void round_through(float* values, StoredType stored, size_t n) {
  if (stored == StoredType::kF32) return;
  const StoredTypeInfo& info = stored_type_info(stored);
  Buffer<std::byte> bytes(n / info.block_elements * info.block_bytes);
  encode_values(bytes.data(), values, stored, n);
  TensorView view;
  view.type = stored;
  view.shape = {n};
  view.data = bytes.data();
  view.size_bytes = bytes.size();
  read_tensor(values, view);
}

}  // namespace fathom
