#include "kernels/peak.h"

#include <cstdint>

#include "kernels/gemm_tiles.h"
#include "kernels/isa.h"
#include "kernels/tiles_amx.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/peak.cpp"
#include "kernels/gemm_targets.h"  // read by foreach_target.h

#include "hwy/foreach_target.h"
#include "kernels/gemm_float-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::gemm_detail {
namespace HWY_NAMESPACE {
namespace {

double spin_floats(size_t steps) {
  constexpr size_t kSums = 12;  // hide a latency of four cycles at up to three products a cycle
  const Floats d;
  const V x = hn::Set(d, 0.5f), y = hn::Set(d, 1.0f);
  V sum[kSums];
#pragma GCC unroll 12
  for (size_t i = 0; i < kSums; ++i) sum[i] = hn::Set(d, static_cast<float>(i));
  for (size_t s = 0; s < steps; ++s) {
    // sum * x + y rather than sum + x * y, whose product would be taken out of the loop where there is no
    // FMA.
#pragma GCC unroll 12
    for (size_t i = 0; i < kSums; ++i) sum[i] = hn::MulAdd(sum[i], x, y);
  }
#pragma GCC unroll 12
  for (size_t i = 1; i < kSums; ++i) sum[0] = hn::Add(sum[0], sum[i]);
  volatile float used = hn::GetLane(sum[0]);
  static_cast<void>(used);
  return 2.0 * static_cast<double>(kLanes * kSums) * static_cast<double>(steps);
}

}  // namespace

extern double (*const kSpinFloats)(size_t);
double (*const kSpinFloats)(size_t) = spin_floats;

}  // namespace HWY_NAMESPACE
}  // namespace fathom::gemm_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512bf16")
#include <immintrin.h>

namespace fathom::gemm_detail {
namespace {

double spin_bf16(size_t steps) {
  constexpr size_t kSums = 24;  // as many as gemm's kernel
  const __m512bh x = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3f00));
  __m512 sum[kSums];
#pragma GCC unroll 24
  for (size_t i = 0; i < kSums; ++i) sum[i] = _mm512_set1_ps(static_cast<float>(i));
  for (size_t s = 0; s < steps; ++s) {
#pragma GCC unroll 24
    for (size_t i = 0; i < kSums; ++i) sum[i] = _mm512_dpbf16_ps(sum[i], x, x);
  }
#pragma GCC unroll 24
  for (size_t i = 1; i < kSums; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  volatile float used = _mm512_cvtss_f32(sum[0]);
  static_cast<void>(used);
  return 2.0 * 32 * static_cast<double>(kSums) * static_cast<double>(steps);
}

// Operands as a model has them: numbers of both signs between 1/2 and 1. With zeros the units would draw less
// power, and on a machine that is short of it reach more than with numbers that anyone multiplies.
struct alignas(64) Operands {
  uint16_t bits[4][kTileRows * kStepDepth];

  Operands() {
    uint32_t state = 1;
    for (auto& tile : bits) {
      for (uint16_t& v : tile) {
        state = state * 1664525u + 1013904223u;
        v = static_cast<uint16_t>(0x3f00u | (state >> 31 << 15) | (state >> 20 & 0x7fu));
      }
    }
  }
};

// 16 rows of 64 bytes in every tile: 16 x 16 sums of 32 products each. Two tiles of A and two of B, as in
// gemm's loop; loaded once, or in each step.
template <bool loads>
double spin_amx(size_t steps) {
  static const Operands operands;
  const ConfiguredTiles configured(AmxTiles::configure, AmxTiles::release);
  AmxTiles::zero<0>();
  AmxTiles::zero<1>();
  AmxTiles::zero<2>();
  AmxTiles::zero<3>();
  const auto load = [] {
    AmxTiles::load<4>(operands.bits[0], kTileRowBytes);
    AmxTiles::load<5>(operands.bits[1], kTileRowBytes);
    AmxTiles::load<6>(operands.bits[2], kTileRowBytes);
    AmxTiles::load<7>(operands.bits[3], kTileRowBytes);
  };
  load();
  for (size_t s = 0; s < steps; ++s) {
    if constexpr (loads) load();
    AmxTiles::dot<0, 4, 6>();
    AmxTiles::dot<1, 4, 7>();
    AmxTiles::dot<2, 5, 6>();
    AmxTiles::dot<3, 5, 7>();
  }
  return 4.0 * 2 * 16 * 16 * 32 * static_cast<double>(steps);
}

}  // namespace
}  // namespace fathom::gemm_detail
#pragma GCC pop_options

namespace fathom {

double spin_products(DType compute, size_t steps) {
  using namespace gemm_detail;
  const Isa isa = active_isa();
  if (compute == DType::kBf16 && isa == Isa::kAmx) return spin_amx<false>(steps);
  if (compute == DType::kBf16 && isa >= Isa::kAvx512Bf16) return spin_bf16(steps);
#if HWY_TARGETS & HWY_AVX3
  if (isa >= Isa::kAvx512) return gemm_detail::N_AVX3::kSpinFloats(steps);
#endif
#if HWY_TARGETS & HWY_AVX2
  if (isa >= Isa::kAvx2) return gemm_detail::N_AVX2::kSpinFloats(steps);
#endif
  return gemm_detail::HWY_STATIC_DISPATCH(kSpinFloats)(steps);
}

double spin_loaded_products(DType compute, size_t steps) {
  if (compute == DType::kBf16 && active_isa() == Isa::kAmx) return gemm_detail::spin_amx<true>(steps);
  return spin_products(compute, steps);
}

}  // namespace fathom
#endif
