#include "kernels/rope.h"

#include <cmath>

namespace fathom {

RopeFrequencies rope_frequencies(size_t HS, double theta) {
  RopeFrequencies f;
  for (size_t i = 0; i < HS / 2; ++i)
    f.radians.push_back(std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(HS)));
  return f;
}

template <class S>
RopeTable<S>::RopeTable(size_t positions_, const RopeFrequencies& f)
    : positions(positions_), half(f.radians.size()), cos(positions * half), sin(positions * half) {
  for (size_t i = 0; i < half; ++i) {
    for (size_t p = 0; p < positions; ++p) {
      const double angle = static_cast<double>(p) * f.radians[i];
      cos[p * half + i] = static_cast<S>(f.magnitude * std::cos(angle));
      sin[p * half + i] = static_cast<S>(f.magnitude * std::sin(angle));
    }
  }
}

template <class W>
void rope_ref(W* x, size_t rows, size_t stride, size_t heads, size_t HS, size_t T, size_t first_position,
              const RopeTable<Stream<W>>& table, bool inverse, const Stream<W>* bias) {
  using S = Stream<W>;
  const size_t half = HS / 2;
  for (size_t r = 0; r < rows; ++r) {
    const size_t position = first_position + r % T;
    for (size_t h = 0; h < heads; ++h) {
      W* x_h = x + r * stride + h * HS;
      for (size_t i = 0; i < half; ++i) {
        const S c = table.cos[position * half + i];
        const S s = inverse ? -table.sin[position * half + i] : table.sin[position * half + i];
        const S a = S(x_h[i]) + (bias != nullptr ? bias[h * HS + i] : S(0));
        const S b = S(x_h[i + half]) + (bias != nullptr ? bias[h * HS + i + half] : S(0));
        x_h[i] = W(a * c - b * s);
        x_h[i + half] = W(b * c + a * s);
      }
    }
  }
}

template <class W>
void rope_block_ref(W* a, W* b, const RopeBlock& block, const RopeTable<Stream<W>>& table) {
  using S = Stream<W>;
  for (size_t r = 0; r < block.rows; ++r, a += block.ld, b += block.ld) {
    const size_t row = (block.first_position + (block.first_row + r) % block.T) * table.half;
    for (size_t i = 0; i < block.pairs; ++i) {
      const size_t at = row + block.first_pair + i;
      const S c = table.cos[at], s = block.inverse ? -table.sin[at] : table.sin[at];
      const S x = S(a[i]), y = S(b[i]);
      a[i] = W(x * c - y * s);
      b[i] = W(y * c + x * s);
    }
  }
}

template struct RopeTable<double>;
template struct RopeTable<float>;
template void rope_ref(double*, size_t, size_t, size_t, size_t, size_t, size_t, const RopeTable<double>&,
                       bool, const double*);
template void rope_ref(float*, size_t, size_t, size_t, size_t, size_t, size_t, const RopeTable<float>&, bool,
                       const float*);
template void rope_ref(bf16*, size_t, size_t, size_t, size_t, size_t, size_t, const RopeTable<float>&, bool,
                       const float*);
template void rope_block_ref(double*, double*, const RopeBlock&, const RopeTable<double>&);
template void rope_block_ref(float*, float*, const RopeBlock&, const RopeTable<float>&);
template void rope_block_ref(bf16*, bf16*, const RopeBlock&, const RopeTable<float>&);

}  // namespace fathom
