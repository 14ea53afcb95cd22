#pragma once
// Tile registers in plain C++, bit by bit as the manual has them: the reference of what is written for AMX,
// and the way in which it is tested on other machines. For test code and gemm_tiles_ref.cpp.

#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>

#include "core/error.h"
#include "core/types.h"
#include "kernels/gemm_tiles.h"

namespace fathom::gemm_detail {

// What the instruction does with operands and results: denormals are zero.
inline float flushed(float v) { return std::fpclassify(v) == FP_SUBNORMAL ? std::copysign(0.0f, v) : v; }

// The processor raises a fault where this fails: always a mistake of the driver.
inline void require(bool holds, const char* what) {
  if (!holds) fail(std::string("emulated tiles: ") + what);
}

struct EmulatedTile {
  alignas(64) std::byte bytes[kTileRows][kTileRowBytes];
  size_t rows = 0, row_bytes = 0;

  float sum(size_t row, size_t col) const {
    float v;
    std::memcpy(&v, bytes[row] + 4 * col, 4);
    return v;
  }
  void set_sum(size_t row, size_t col, float v) { std::memcpy(bytes[row] + 4 * col, &v, 4); }
  float half(size_t row, size_t col) const {
    bf16 v;
    std::memcpy(&v, bytes[row] + 2 * col, 2);
    return flushed(static_cast<float>(v));
  }
};

// A thread's registers. Rows and bytes past the configured ones are zero after every write, as the manual
// says.
struct EmulatedTiles {
  static constexpr int kCount = 8;
  static EmulatedTile& tile(int t) {
    static thread_local EmulatedTile tiles[kCount];
    return tiles[t];
  }
  static EmulatedTile& configured(int t) {
    require(tile(t).rows != 0, "a tile is used that is not configured");
    return tile(t);
  }
  static void clear(EmulatedTile& t) { std::memset(t.bytes, 0, sizeof(t.bytes)); }

  static void configure(const TileConfig& config) {
    require(config.palette == 1 && config.start_row == 0, "palette 1 and row 0 are the only ones in use");
    for (uint8_t r : config.reserved) require(r == 0, "reserved bytes must be zero");
    for (int t = 0; t < 16; ++t) {
      const size_t rows = config.rows[t], row_bytes = config.row_bytes[t];
      require(rows <= kTileRows && row_bytes <= kTileRowBytes, "a tile has up to 16 rows of 64 bytes");
      require((rows == 0) == (row_bytes == 0), "a tile has rows and bytes, or neither");
      require(t < kCount || rows == 0, "there are eight tiles");
      if (t >= kCount) continue;
      tile(t).rows = rows;
      tile(t).row_bytes = row_bytes;
      clear(tile(t));
    }
  }
  static void release() {
    for (int t = 0; t < kCount; ++t) tile(t).rows = tile(t).row_bytes = 0;
  }
  template <int T>
  static void zero() {
    clear(configured(T));
  }
  template <int T>
  static void load(const void* data, size_t stride) {
    EmulatedTile& t = configured(T);
    clear(t);
    for (size_t i = 0; i < t.rows; ++i)
      std::memcpy(t.bytes[i], static_cast<const std::byte*>(data) + i * stride, t.row_bytes);
  }
  template <int T>
  static void load_streamed(const void* data, size_t stride) {
    load<T>(data, stride);
  }
  template <int T>
  static void store(void* data, size_t stride) {
    const EmulatedTile& t = configured(T);
    for (size_t i = 0; i < t.rows; ++i)
      std::memcpy(static_cast<std::byte*>(data) + i * stride, t.bytes[i], t.row_bytes);
  }

  // TDPBF16PS: the first and the second numbers of the pairs along K are summed apart, with one rounding a
  // step (FMA); the two sums are added, and then what C held. Rounding is to the nearest, ties to even.
  template <int C, int A, int B>
  static void dot() {
    static_assert(C != A && C != B && A != B);
    EmulatedTile& c = configured(C);
    const EmulatedTile &a = configured(A), &b = configured(B);
    require(a.rows == c.rows && b.row_bytes == c.row_bytes && a.row_bytes == 4 * b.rows,
            "the shapes of a product do not fit");
    for (size_t i = 0; i < c.rows; ++i) {
      for (size_t j = 0; j < c.row_bytes / 4; ++j) {
        float even = 0.0f, odd = 0.0f;
        for (size_t u = 0; u < b.rows; ++u) {
          even = flushed(std::fma(a.half(i, 2 * u), b.half(u, 2 * j), even));
          odd = flushed(std::fma(a.half(i, 2 * u + 1), b.half(u, 2 * j + 1), odd));
        }
        c.set_sum(i, j, flushed(flushed(c.sum(i, j)) + flushed(even + odd)));
      }
    }
  }
};

}  // namespace fathom::gemm_detail
