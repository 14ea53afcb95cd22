#pragma once
// The loop over tiles, for any implementation of them. `Tiles` has static functions, all on registers that
// are named at compile time: zero<T>(), load<T>(data, stride), store<T>(data, stride), and dot<C, A, B>(),
// which adds A's rows times B's columns to C.

#include "kernels/gemm_blocks.h"
#include "kernels/gemm_tiles.h"

namespace fathom::gemm_detail {

template <int for_writing, int locality>
[[gnu::always_inline]] inline void prefetch_step(const Ahead& ahead, size_t step) {
  const std::byte* from = ahead.from + step * ahead.step;
  __builtin_prefetch(from, for_writing, locality);
  __builtin_prefetch(from + ahead.line, for_writing, locality);
  __builtin_prefetch(from + ahead.other, for_writing, locality);
  __builtin_prefetch(from + ahead.other + ahead.line, for_writing, locality);
}

// Registers 0 to 3 hold the sums (row-major), 4 and 5 A's tiles, 6 and 7 B's: four products for four loads,
// the best ratio that eight registers allow. A block of 16 rows or columns leaves its second tile out.
template <class Tiles, bool two_rows, bool two_cols>
[[gnu::always_inline]] inline void multiply_step(const std::byte* a, size_t a_stride, const std::byte* b) {
  constexpr size_t kTileBytes = kTileRows * kTileRowBytes;
  Tiles::template load<6>(b, kTileRowBytes);
  Tiles::template load_streamed<4>(a, a_stride);
  Tiles::template dot<0, 4, 6>();
  if constexpr (two_cols) {
    Tiles::template load<7>(b + kTileBytes, kTileRowBytes);
    Tiles::template dot<1, 4, 7>();
  }
  if constexpr (two_rows) {
    Tiles::template load_streamed<5>(a + kTileRows * a_stride, a_stride);
    Tiles::template dot<2, 5, 6>();
    if constexpr (two_cols) Tiles::template dot<3, 5, 7>();
  }
}

// The steps of a block, and after each of them what else is to be done then: beside(step).
template <class Tiles, bool two_rows, bool two_cols, class Beside>
[[gnu::always_inline]] inline void multiply_shape(const TileBlock& block, const Beside& beside) {
  constexpr size_t kSumsStride = kStrip * sizeof(float);
  float *sums = block.sums, *lower_sums = sums + kTileRows * kStrip;
  if (block.adds) {
    Tiles::template load<0>(sums, kSumsStride);
    if constexpr (two_cols) Tiles::template load<1>(sums + kTileUnits, kSumsStride);
    if constexpr (two_rows) Tiles::template load<2>(lower_sums, kSumsStride);
    if constexpr (two_rows && two_cols) Tiles::template load<3>(lower_sums + kTileUnits, kSumsStride);
  } else {
    Tiles::template zero<0>();
    if constexpr (two_cols) Tiles::template zero<1>();
    if constexpr (two_rows) Tiles::template zero<2>();
    if constexpr (two_rows && two_cols) Tiles::template zero<3>();
  }
  const std::byte* a = block.a;
  const auto* b = reinterpret_cast<const std::byte*>(block.b);
  const size_t steps = block.steps, a_stride = block.a_stride, a_step = block.a_step;
  const Ahead next_b = block.next_b;
  for (size_t s = 0; s < steps; ++s, a += a_step, b += kStepBytes) {
    multiply_step<Tiles, two_rows, two_cols>(a, a_stride, b);
    prefetch_step<0, 2>(next_b, s);
    beside(s);
  }
  Tiles::template store<0>(sums, kSumsStride);
  if constexpr (two_cols) Tiles::template store<1>(sums + kTileUnits, kSumsStride);
  if constexpr (two_rows) Tiles::template store<2>(lower_sums, kSumsStride);
  if constexpr (two_rows && two_cols) Tiles::template store<3>(lower_sums + kTileUnits, kSumsStride);
}

template <class Tiles, class Beside>
[[gnu::always_inline]] inline void multiply_block(const TileBlock& block, const Beside& beside) {
  const bool two_rows = block.rows > kTileRows, two_cols = block.cols > kTileUnits;
  if (two_rows && two_cols) return multiply_shape<Tiles, true, true>(block, beside);
  if (two_rows) return multiply_shape<Tiles, true, false>(block, beside);
  if (two_cols) return multiply_shape<Tiles, false, true>(block, beside);
  multiply_shape<Tiles, false, false>(block, beside);
}

template <class Tiles>
void multiply_tile_block(const TileBlock& block, Pending& other) {
  multiply_block<Tiles>(block, [&](size_t) {
    if (other.rows > 0) other.hand_over(other.a_step < other.rows ? other.a_step : other.rows);
  });
}

template <class Tiles>
void multiply_tile_block_and_ask(const TileBlock& block) {
  const Ahead next_out = block.next_out;
  multiply_block<Tiles>(block, [&](size_t step) { prefetch_step<1, 3>(next_out, step); });
}

}  // namespace fathom::gemm_detail
