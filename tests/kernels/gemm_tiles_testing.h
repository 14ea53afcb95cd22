#pragma once
// The ways in which products on tiles are tested: on emulated tiles on every machine, with plain and with
// AVX-512 packing, and on the real ones where the machine has them.

#include <algorithm>
#include <string>

#include "kernels/gemm_tiles.h"
#include "kernels/isa.h"

namespace fathom::gemm_testing {

inline bool has(Isa isa) {
  const auto& have = available_isas();
  return std::find(have.begin(), have.end(), isa) != have.end();
}

enum class Way { kPlain, kAvx512Packing, kAmx };

inline Isa needed(Way way) {
  return way == Way::kAmx ? Isa::kAmx : way == Way::kAvx512Packing ? Isa::kAvx512Bf16 : Isa::kScalar;
}

inline std::string name_of(Way way) {
  return way == Way::kAmx ? "amx" : way == Way::kAvx512Packing ? "avx512_packing" : "plain";
}

inline gemm_detail::TileKernels kernels_of(Way way) {
  switch (way) {
    case Way::kPlain:
      return gemm_detail::emulated_tile_kernels(gemm_detail::plain_tile_packing());
    case Way::kAvx512Packing:
      return gemm_detail::emulated_tile_kernels(gemm_detail::avx512_tile_packing());
    case Way::kAmx:
      return gemm_detail::amx_kernels();
  }
  return {};
}

}  // namespace fathom::gemm_testing
