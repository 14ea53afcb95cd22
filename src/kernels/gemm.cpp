#include "kernels/gemm.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "core/profile.h"
#include "kernels/gemm_tiles.h"
#include "kernels/isa.h"
#include "kernels/tile_trust.h"

namespace fathom {
namespace {

GemmBackend initial_backend() {
  const char* forced = std::getenv("FATHOM_GEMM");
  const std::string name = forced == nullptr ? "" : forced;
  if (name.empty()) return GemmBackend::kAuto;
  if (name == "own") return GemmBackend::kOwn;
  if (name == "onednn") return GemmBackend::kOneDnn;
  usage_error("FATHOM_GEMM=" + name + ": unknown backend", "own or onednn");
}

std::atomic<GemmBackend>& backend_slot() {
  static std::atomic<GemmBackend> backend{initial_backend()};
  return backend;
}

bool use_onednn(Isa isa) {
  const GemmBackend backend = gemm_backend();
  if (backend == GemmBackend::kAuto) return isa == Isa::kAmx && !amx_is_trusted();
  return backend == GemmBackend::kOneDnn && isa >= Isa::kAvx512Bf16;
}

// Whose kernels run a product of floats or bf16 with K > 0.
enum class Way { kFewRows, kOneDnn, kTiles, kPairs, kFloats };

Way way_of(Isa isa, size_t M, Compute compute) {
  if (M <= gemm_detail::kFewRows) return Way::kFewRows;
  if (compute != DType::kBf16) return Way::kFloats;
  if (use_onednn(isa)) return Way::kOneDnn;
  if (isa == Isa::kAmx) return Way::kTiles;
  return isa >= Isa::kAvx512Bf16 ? Way::kPairs : Way::kFloats;
}

}  // namespace

bool reads_packed_matrices(Compute compute) {
  const Isa isa = active_isa();
  return compute == DType::kBf16 && isa == Isa::kAmx && !use_onednn(isa);
}

size_t packed_units(size_t K, size_t N) { return gemm_detail::packed_tile_units(K, N); }

void pack_matrix(uint32_t* to, size_t K, size_t N, MatrixIn b) {
  gemm_detail::pack_for_tiles(gemm_detail::amx_kernels().packing, to, K, N, b);
}

GemmBackend gemm_backend() { return backend_slot().load(std::memory_order_relaxed); }

void set_gemm_backend(GemmBackend backend) { backend_slot().store(backend, std::memory_order_relaxed); }

void gemm(size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c, Compute compute, Addend addend) {
  using namespace gemm_detail;
  if (M == 0 || N == 0) return;
  profile_work(2.0 * static_cast<double>(M * N) * static_cast<double>(K),
               static_cast<double>(M * K * dtype_size(a.dtype) + K * N * dtype_size(b.dtype) +
                                   M * N * dtype_size(c.dtype) * (addend.data != nullptr ? 2 : 1)));
  if (compute == DType::kF64 || K == 0) return gemm_ref(M, N, K, a, b, c, compute, addend);
  const Isa isa = active_isa();
  const bool round = compute == DType::kBf16;
  switch (way_of(isa, M, compute)) {
    case Way::kFewRows:
      return multiply_few_rows(isa, M, N, K, a, b, c, addend, round);
    case Way::kOneDnn:
      return multiply_onednn(M, N, K, a, b, c, addend);
    case Way::kTiles:
      return multiply_on_tiles(amx_kernels(), M, N, K, a, b, c, addend);
    case Way::kPairs:
      return multiply_blocked(bf16_kernels(), M, N, K, a, b, c, addend, false);
    case Way::kFloats:
      return multiply_blocked(float_kernels(isa), M, N, K, a, b, c, addend, round);
  }
}

bool gemm_detail::runs_on_tiles(size_t M, Compute compute) {
  return M > 0 && way_of(active_isa(), M, compute) == Way::kTiles;
}

gemm_detail::GemmScratch gemm_detail::gemm_scratch(size_t M, size_t N, size_t K, DType a, bool a_transposed,
                                                   DType c, Compute compute) {
  if (M == 0 || N == 0 || K == 0 || compute == DType::kF64) return {};
  const Isa isa = active_isa();
  switch (way_of(isa, M, compute)) {
    case Way::kFewRows:
      return few_rows_scratch(K);
    case Way::kOneDnn:  // reads bf16: a float operand is converted as a whole. What it keeps itself is not
                        // known.
      return {.shared = a == DType::kF32 ? (M + 1) * (K + 1) * sizeof(bf16) : 0};
    case Way::kTiles:
      return tiles_scratch(M, N, K, c);
    case Way::kPairs:
      return blocked_scratch(bf16_kernels(), M, N, K, c, a_transposed);
    case Way::kFloats:
      return blocked_scratch(float_kernels(isa), M, N, K, c, a_transposed);
  }
  return {};
}

void gemm_detail::GemmScratch::include(const GemmScratch& other) {
  shared = std::max(shared, other.shared);
  shared_a = std::max(shared_a, other.shared_a);
  packed = std::max(packed, other.packed);
  sums = std::max(sums, other.sums);
}

}  // namespace fathom
