#include "kernels/peak.h"

#include <cstdint>

#include "kernels/gemm_tiles.h"
#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/peak.cpp"
#include "hwy/foreach_target.h"
#include "kernels/gemm_float-inl.h"
#include "kernels/gemm_targets.h"

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
#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512bf16,amx-tile,amx-bf16")
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

// 16 rows of 64 bytes in every tile: 16 x 16 sums of 32 products each.
double spin_amx(size_t steps) {
  // Not _tile_loadconfig: g++ 12's tells the compiler of the first eight bytes only.
  asm volatile("ldtilecfg %0" : : "m"(kWholeTiles));
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  for (size_t s = 0; s < steps; ++s) {
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 4, 5);
    _tile_dpbf16ps(2, 4, 5);
    _tile_dpbf16ps(3, 4, 5);
  }
  _tile_release();
  return 4.0 * 2 * 16 * 16 * 32 * static_cast<double>(steps);
}

}  // namespace
}  // namespace fathom::gemm_detail
#pragma GCC pop_options
#endif

namespace fathom {

double spin_products(DType compute, size_t steps) {
  using namespace gemm_detail;
  const Isa isa = active_isa();
#if defined(__x86_64__)
  if (compute == DType::kBf16 && isa == Isa::kAmx) return spin_amx(steps);
  if (compute == DType::kBf16 && isa >= Isa::kAvx512Bf16) return spin_bf16(steps);
#endif
#if HWY_TARGETS & HWY_AVX3
  if (isa >= Isa::kAvx512) return N_AVX3::kSpinFloats(steps);
#endif
#if HWY_TARGETS & HWY_AVX2
  if (isa >= Isa::kAvx2) return N_AVX2::kSpinFloats(steps);
#endif
  return HWY_STATIC_DISPATCH(kSpinFloats)(steps);
}

}  // namespace fathom
#endif
