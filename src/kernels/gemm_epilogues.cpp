#include "kernels/gemm_epilogues.h"

#include <type_traits>

#include "core/profile.h"
#include "kernels/gemm_epilogue_blocks.h"

namespace fathom {
namespace gemm_detail {
namespace {

// Where a result's blocks go: past the caches if it is large.
struct Result {
  Result(bf16* data_, size_t rows, size_t columns)
      : data(data_), ld(columns), streams(rows * columns * sizeof(bf16) > kMostCached) {}
  BlockTarget at(size_t row, size_t column) const { return {data + row * ld + column, ld, streams}; }

  bf16* data;
  size_t ld;
  bool streams;
};

class SwigluEpilogue : public TileEpilogue {
 public:
  SwigluEpilogue(const EpilogueBlocks& blocks, bf16* act, size_t M, size_t F, GateActivation f)
      : TileEpilogue(F / kStrip), blocks_(blocks), act_(act, M, F), f_(f) {}

  void take(const float* gate, const float* up, size_t rows, size_t, const Place& at) const override {
    blocks_.swiglu(gate, up, rows, act_.at(at.row, at.column), f_);
  }

 private:
  const EpilogueBlocks& blocks_;
  const Result act_;
  const GateActivation f_;
};

// Heads of 32 lie in a panel; of 64, 128, ... in pairs of panels, whose numbers turn together.
class RopeEpilogue : public TileEpilogue {
 public:
  static bool takes(size_t HS, size_t N) { return N % HS == 0 && (HS == kStrip || HS % (2 * kStrip) == 0); }

  RopeEpilogue(const EpilogueBlocks& blocks, bf16* c, size_t M, size_t N, const RopeOfRows<bf16>& rotation)
      : TileEpilogue(rotation.HS / 2 / kStrip), blocks_(blocks), c_(c, M, N), rotation_(rotation) {}

  void take(const float* sums, const float* partner, size_t rows, size_t, const Place& at) const override {
    const RopeOfRows<bf16>& r = rotation_;
    const size_t column = at.column;
    const BlockTarget to = c_.at(at.row, column), to_partner = c_.at(at.row, column + half * kStrip);
    const size_t pairs = half > 0 ? kStrip : kStrip / 2;
    const RopeBlock block{at.row, rows, column % r.HS, pairs, kStrip, r.T, r.first_position};
    const bool turns = column < r.heads * r.HS;
    if (turns && half > 0) return blocks_.rope(sums, partner, to, to_partner, block, *r.table);
    if (turns) return blocks_.rope_of_a_head(sums, to, block, *r.table);
    blocks_.store(sums, rows, to);
    if (half > 0) blocks_.store(partner, rows, to_partner);
  }

 private:
  const EpilogueBlocks& blocks_;
  const Result c_;
  const RopeOfRows<bf16> rotation_;
};

}  // namespace

bool swiglu_on_tiles(const TileKernels& kernels, bf16* act, size_t M, size_t F, size_t K, MatrixIn a,
                     MatrixIn b, GateActivation f) {
  if (F % kStrip != 0 || !takes_epilogue(kernels, 2 * F, K, b, true)) return false;
  multiply_on_tiles(kernels, M, 2 * F, K, a, b, SwigluEpilogue(*kernels.packing.epilogues, act, M, F, f));
  return true;
}

bool rope_on_tiles(const TileKernels& kernels, bf16* c, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b,
                   const RopeOfRows<bf16>& rotation) {
  if (!RopeEpilogue::takes(rotation.HS, N) || !takes_epilogue(kernels, N, K, b, rotation.HS > kStrip))
    return false;
  multiply_on_tiles(kernels, M, N, K, a, b, RopeEpilogue(*kernels.packing.epilogues, c, M, N, rotation));
  return true;
}

}  // namespace gemm_detail

namespace {

// A product that writes `written` bf16 numbers.
void count_work(size_t M, size_t N, size_t K, const MatrixIn& a, const MatrixIn& b, size_t written) {
  profile_work(2.0 * static_cast<double>(M * N) * static_cast<double>(K),
               static_cast<double>(M * K * dtype_size(a.dtype) + K * N * dtype_size(b.dtype) +
                                   written * sizeof(bf16)));
}

// Whether a product of bf16 runs on tiles.
bool on_tiles(size_t M, size_t K) { return K > 0 && gemm_detail::runs_on_tiles(M, DType::kBf16); }

}  // namespace

template <class W>
void gemm_swiglu(W* act, W* gate_up, size_t M, size_t F, size_t K, MatrixIn a, MatrixIn b, GateActivation f) {
  if constexpr (std::is_same_v<W, bf16>) {
    if (on_tiles(M, K) && gemm_detail::swiglu_on_tiles(gemm_detail::amx_kernels(), act, M, F, K, a, b, f))
      return count_work(M, 2 * F, K, a, b, M * F);
  }
  gemm(M, 2 * F, K, a, b, {gate_up, dtype_of<W>(), 2 * F}, dtype_of<W>());
  swiglu_forward(act, gate_up, M, F, f);
}

template <class W>
void gemm_rope(W* c, size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, const RopeOfRows<W>& r) {
  if constexpr (std::is_same_v<W, bf16>) {
    if (on_tiles(M, K) && gemm_detail::rope_on_tiles(gemm_detail::amx_kernels(), c, M, N, K, a, b, r))
      return count_work(M, N, K, a, b, M * N);
  }
  gemm(M, N, K, a, b, {c, dtype_of<W>(), N}, dtype_of<W>());
  rope(c, M, N, r.heads, r.HS, r.T, r.first_position, *r.table, false);
}

#define FATHOM_INSTANTIATE(W)                                                                    \
  template void gemm_swiglu(W*, W*, size_t, size_t, size_t, MatrixIn, MatrixIn, GateActivation); \
  template void gemm_rope(W*, size_t, size_t, size_t, MatrixIn, MatrixIn, const RopeOfRows<W>&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
