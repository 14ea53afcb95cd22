#pragma once
// Number types. bf16 is storage only: arithmetic converts to float first.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace fathom {

/// Brain float: the upper half of an IEEE binary32.
struct bf16 {
  uint16_t bits = 0;

  bf16() = default;
  /// Rounds to nearest, ties to even; NaN stays NaN (its payload may change), overflow becomes infinity.
  explicit bf16(float value) {
    uint32_t u = std::bit_cast<uint32_t>(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<uint16_t>((u >> 16) | 0x0040u);
    } else {
      bits = static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
  explicit operator double() const { return static_cast<double>(static_cast<float>(*this)); }
};
static_assert(sizeof(bf16) == 2);

enum class DType { kF64, kF32, kBf16 };

inline size_t dtype_size(DType t) { return t == DType::kF64 ? 8 : t == DType::kF32 ? 4 : 2; }
inline std::string_view dtype_name(DType t) {
  return t == DType::kF64 ? "fp64" : t == DType::kF32 ? "fp32" : "bf16";
}

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, double>)
    return DType::kF64;
  else if constexpr (std::is_same_v<T, float>)
    return DType::kF32;
  else {
    static_assert(std::is_same_v<T, bf16>);
    return DType::kBf16;
  }
}

/// The type of the residual stream, of norm statistics, of gradients and of master weights, for compute type
/// W: double for the double reference path, float for fp32 and bf16. Keeping the stream in fp32 under bf16
/// matters here: a deep layer's small update would vanish in an 8-bit mantissa, and that update is what
/// Fathom measures.
template <class W>
using Stream = std::conditional_t<std::is_same_v<W, double>, double, float>;

}  // namespace fathom
