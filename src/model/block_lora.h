#pragma once
// Internal to model/: low-rank adapters at the places where a layer's products are made.

#include <cstddef>

#include "core/profile.h"
#include "kernels/gemm.h"
#include "kernels/vector_ops.h"
#include "model/block.h"

namespace fathom {

/// Projections that read the same input; output i is the columns from `column` on of what the products make.
struct AdaptedOutput {
  Projection projection;
  size_t rows;    ///< of the weight
  size_t column;  ///< first column of its output
};
struct AdaptedOutputs {
  AdaptedOutput output[3];
  size_t count;
  const AdaptedOutput* begin() const { return output; }
  const AdaptedOutput* end() const { return output + count; }
};

/// t_i (rows, r) = scale * input A_i^T;  y[:, column_i ...] += t_i B_i^T, for each output that has an
/// adapter. Shapes: input (rows, C); y (rows, ld), of type W or Stream<W>; saved.lora[i] keeps t_i for the
/// backward pass. The products with a rank of 8 or 16 columns cost r / out of the frozen weight's own.
template <class W, class Y>
void adapters_forward(Y* y, size_t ld, MatrixIn input, const LayerWeights<W>& w, BlockSaved<W>& saved,
                      const AdaptedOutputs& outputs, size_t rows, size_t C, const LoraConfig& lora) {
  using S = Stream<W>;
  constexpr DType kW = dtype_of<W>(), kS = dtype_of<S>(), kY = dtype_of<Y>();
  const size_t r = lora.rank;
  if (r == 0) return;
  const ProfileScope scope("adapters forward");
  for (const AdaptedOutput& out : outputs) {
    const auto i = static_cast<size_t>(out.projection);
    const LoraPair<const W>& pair = w.lora[i];
    if (pair.a == nullptr) continue;
    S* t = saved.lora[i];
    gemm(rows, r, C, input, {pair.a, kW, C, true}, {t, kS, r}, kW);
    scaled_copy(t, t, static_cast<S>(lora.scale()), rows * r);
    Y* part = y + out.column;
    gemm(rows, out.rows, r, {t, kS, r}, {pair.b, kW, r, true}, {part, kY, ld}, kW, {part, ld, 1.0});
  }
}

/// The way back, for dy (rows, ld) of y: dB_i += dy_i^T t_i;  dt_i = scale * dy_i B_i;  dA_i += dt_i^T input;
/// dinput (rows, C) += dt_i A_i. Gradients that are null are left out; `dt` is scratch for (rows, r).
template <class W, class DY, class DX>
void adapters_backward(DX* dinput, Stream<W>* dt, const DY* dy, size_t ld, MatrixIn input,
                       const LayerWeights<W>& w, const LayerGradients<Stream<W>>* g,
                       const BlockSaved<W>& saved, const AdaptedOutputs& outputs, size_t rows, size_t C,
                       const LoraConfig& lora) {
  using S = Stream<W>;
  constexpr DType kW = dtype_of<W>(), kS = dtype_of<S>(), kDY = dtype_of<DY>(), kDX = dtype_of<DX>();
  const size_t r = lora.rank;
  if (r == 0) return;
  const ProfileScope scope("adapters backward");
  for (const AdaptedOutput& out : outputs) {
    const auto i = static_cast<size_t>(out.projection);
    const LoraPair<const W>& pair = w.lora[i];
    if (pair.a == nullptr) continue;
    const LoraPair<S> dpair = g != nullptr ? g->lora[i] : LoraPair<S>{};
    const DY* part = dy + out.column;
    if (dpair.b != nullptr) {
      gemm(out.rows, r, rows, {part, kDY, ld, true}, {saved.lora[i], kS, r}, {dpair.b, kS, r}, kW,
           {dpair.b, r, 1.0});
    }
    gemm(rows, r, out.rows, {part, kDY, ld}, {pair.b, kW, r}, {dt, kS, r}, kW);
    scaled_copy(dt, dt, static_cast<S>(lora.scale()), rows * r);
    if (dpair.a != nullptr)
      gemm(r, C, rows, {dt, kS, r, true}, input, {dpair.a, kS, C}, kW, {dpair.a, C, 1.0});
    gemm(rows, C, r, {dt, kS, r}, {pair.a, kW, C}, {dinput, kDX, C}, kW, {dinput, C, 1.0});
  }
}

}  // namespace fathom
