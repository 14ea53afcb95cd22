#include "kernels/scratch.h"

#include <algorithm>

#include "core/threads.h"
#include "kernels/attention_plan.h"
#include "kernels/attention_tiles.h"
#include "kernels/cross_entropy.h"
#include "kernels/gemm.h"
#include "kernels/gemm_tiles.h"
#include "kernels/isa.h"
#include "kernels/tile_trust.h"

namespace fathom {
namespace {

// From the block sizes of gemm_blocked.cpp: B is packed by up to 1024 units of 4 bytes of depth, 8 MiB at
// most; each thread packs a tile of A (104 x 528 units), lines of B (48 x 512) and keeps sums (96 x 1024).
constexpr size_t kPackedUnits = 1024, kMostPacked = size_t{8} << 20;
constexpr size_t kGemmThread = (104 * 528 + 48 * 512 + 96 * 1024) * sizeof(float);

size_t gemm_shared(const KernelSizes& s) {
  if (s.compute == DType::kBf16 && active_isa() == Isa::kAmx) {
    // oneDNN reads bf16: the largest float operand is converted as a whole.
    if (gemm_backend() == GemmBackend::kOneDnn || !amx_is_trusted())
      return sizeof(bf16) * std::max(std::min(s.rows, head_chunk_rows(s.widest)) * s.widest, s.rows * s.C);
    // The weights, or, for their gradient, what they were multiplied with.
    const size_t weights = s.widest * s.C,
                 inputs = std::min(s.rows, gemm_detail::kTilesDepth) * std::max(s.C, s.F);
    return std::min(gemm_detail::kTilesMostShared, std::max(weights, inputs) * sizeof(bf16));
  }
  const size_t per_unit = s.compute == DType::kBf16 ? 2 : 1;
  const size_t depth = std::min(kPackedUnits, std::max(s.C, s.rows) / per_unit + 1);
  return std::min(kMostPacked, s.widest * depth * sizeof(float));
}

}  // namespace

size_t kernel_scratch_bytes(const KernelSizes& s) {
  if (s.compute == DType::kF64 || active_isa() == Isa::kScalar) return 0;
  const size_t attention =
      sizeof(float) * std::max({forward_scratch_size(s.HS), backward_scratch_size(s.T, s.HS),
                                tile_forward_scratch_size(s.T, s.HS), tile_backward_scratch_size(s.T, s.HS)});
  return gemm_shared(s) + num_threads() * (std::max(kGemmThread, gemm_detail::kTilesThread) + attention);
}

}  // namespace fathom
