#pragma once
// Elementwise steps on 32 bf16 numbers at a time, for passes over memory and for epilogues of products alike,
// so that both give the same bits. To be included where AVX-512 with bf16 is in force (see
// gemm_avx512_bf16.cpp), after everything else.
//
// What limits these is how many 512-bit instructions there are, two a cycle: numbers come as 32 in a register
// and are taken apart into those at even and at odd places, one instruction each; vcvtne2ps2bf16 rounds two
// registers of floats to one (denormals become zero; vector code elsewhere, which rounds by integer
// arithmetic, keeps them).

#include <immintrin.h>

#include "core/types.h"
#include "kernels/attention_plan.h"
#include "kernels/swiglu.h"

namespace fathom {
namespace {

constexpr size_t kRowNumbers = 32;
constexpr float kTwoRoot = 1.5957691f, kCubic = 0.044715f;  // GELU's 2 sqrt(2 / pi), and its other constant

/// The numbers at even and at odd places.
struct Halves {
  __m512 even, odd;
};

[[gnu::always_inline]] inline Halves split(__m512i row) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(row, 16)),
          _mm512_castsi512_ps(_mm512_and_si512(row, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
}

/// 32 floats in their order, rounded.
[[gnu::always_inline]] inline __m512i rounded(__m512 first, __m512 second) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
}

[[gnu::always_inline]] inline __m512i join(const Halves& x) {
  const __m512i order = _mm512_load_si512(kInterleaveRows);
  return _mm512_permutexvar_epi16(order, rounded(x.even, x.odd));
}

/// 2^(factor x) for |factor x| < 2^18, relative error 1e-6 (bf16: 2e-3): 2^(j / 16) from a table, times a
/// polynomial of degree 2 that interpolates at Chebyshev nodes. NaN stays NaN.
[[gnu::always_inline]] inline __m512 exp2_of_product(__m512 x, __m512 factor) {
  alignas(64) static constexpr float kPowers[16] = {
      0x1p+0f,        0x1.0b5586p+0f, 0x1.172b84p+0f, 0x1.2387a6p+0f, 0x1.306fep+0f,  0x1.3dea64p+0f,
      0x1.4bfdaep+0f, 0x1.5ab07ep+0f, 0x1.6a09e6p+0f, 0x1.7a1148p+0f, 0x1.8ace54p+0f, 0x1.9c4918p+0f,
      0x1.ae89fap+0f, 0x1.c199bep+0f, 0x1.d5818ep+0f, 0x1.ea4afap+0f};
  // Adding it rounds to sixteenths, which land in the low bits.
  const __m512 magic = _mm512_set1_ps(0x1.8p19f);
  const __m512 t = _mm512_fmadd_ps(x, factor, magic);
  const __m512 whole = _mm512_sub_ps(t, magic);
  const __m512 rest = _mm512_fmsub_ps(x, factor, whole);  // at most 1/32
  const __m512 power = _mm512_permutexvar_ps(_mm512_castps_si512(t), _mm512_load_ps(kPowers));
  const __m512 p = _mm512_fmadd_ps(rest, _mm512_set1_ps(0x1.ebfe56p-3f), _mm512_set1_ps(0x1.62e7bep-1f));
  return _mm512_scalef_ps(_mm512_fmadd_ps(_mm512_mul_ps(p, rest), power, power), whole);
}

constexpr float kLog2OfE = 0x1.715476p+0f;

/// exp(-z). 0 and infinity where |z| > 88 or so; of NaN some number, since what comes of it is multiplied by
/// the gate, NaN too.
[[gnu::always_inline]] inline __m512 exp_of_minus(__m512 z) {
  z = _mm512_range_ps(z, _mm512_set1_ps(128.0f), 0b0010);  // the smaller magnitude, z's sign
  return exp2_of_product(z, _mm512_set1_ps(-kLog2OfE));
}

/// exp(x) for x below 88; 0 far below 0; NaN stays NaN (with x second, max passes one on).
[[gnu::always_inline]] inline __m512 exp_below(__m512 x) {
  return exp2_of_product(_mm512_max_ps(_mm512_set1_ps(-128.0f), x), _mm512_set1_ps(kLog2OfE));
}

/// z of the gate's f(g) = g sigmoid(z), and g z'(g): see swiglu.h.
template <GateActivation f>
[[gnu::always_inline]] inline __m512 argument_of(__m512 g) {
  if constexpr (f == GateActivation::kSilu) return g;
  const __m512 cubic = _mm512_set1_ps(kTwoRoot * kCubic), linear = _mm512_set1_ps(kTwoRoot);
  return _mm512_mul_ps(g, _mm512_fmadd_ps(_mm512_mul_ps(g, g), cubic, linear));
}
template <GateActivation f>
[[gnu::always_inline]] inline __m512 argument_slope_times_g(__m512 g) {
  if constexpr (f == GateActivation::kSilu) return g;
  const __m512 cubic = _mm512_set1_ps(3 * kTwoRoot * kCubic), linear = _mm512_set1_ps(kTwoRoot);
  return _mm512_mul_ps(g, _mm512_fmadd_ps(_mm512_mul_ps(g, g), cubic, linear));
}

/// 1 / x, relative error 2^-14, a thirtieth of what rounding to bf16 may take. (A division takes as long as
/// the rest of a gate.)
[[gnu::always_inline]] inline __m512 reciprocal(__m512 x) { return _mm512_rcp14_ps(x); }

template <GateActivation f>
[[gnu::always_inline]] inline __m512 gated(__m512 g, __m512 u) {
  const __m512 sigmoid = reciprocal(_mm512_add_ps(_mm512_set1_ps(1.0f), exp_of_minus(argument_of<f>(g))));
  return _mm512_mul_ps(_mm512_mul_ps(g, sigmoid), u);
}

/// act of 32 gates and up projections.
template <GateActivation f>
[[gnu::always_inline]] inline __m512i swiglu_row(__m512i gate, __m512i up) {
  const Halves g = split(gate), u = split(up);
  return join({gated<f>(g.even, u.even), gated<f>(g.odd, u.odd)});
}

struct Gradients {
  __m512 gate, up;
};
template <GateActivation f>
[[gnu::always_inline]] inline Gradients gated_backward(__m512 g, __m512 u, __m512 dact) {
  const __m512 one = _mm512_set1_ps(1.0f), e = exp_of_minus(argument_of<f>(g));
  const __m512 sigmoid = reciprocal(_mm512_add_ps(one, e));
  // 1 - sigmoid = e sigmoid: no cancellation. 0 times infinity is to be 0.
  const __m512 rest = _mm512_mul_ps(_mm512_min_ps(e, _mm512_set1_ps(0x1.fffffep127f)), sigmoid);
  // f' = s (1 + g (1 - s) z')
  const __m512 slope = _mm512_mul_ps(sigmoid, _mm512_fmadd_ps(argument_slope_times_g<f>(g), rest, one));
  return {_mm512_mul_ps(_mm512_mul_ps(dact, u), slope), _mm512_mul_ps(_mm512_mul_ps(dact, g), sigmoid)};
}

struct GradientRows {
  __m512i gate, up;
};
template <GateActivation f>
[[gnu::always_inline]] inline GradientRows swiglu_backward_row(__m512i gate, __m512i up, __m512i dact) {
  const Halves g = split(gate), u = split(up), d = split(dact);
  const Gradients even = gated_backward<f>(g.even, u.even, d.even),
                  odd = gated_backward<f>(g.odd, u.odd, d.odd);
  return {join({even.gate, odd.gate}), join({even.up, odd.up})};
}

/// 32 numbers in their order.
struct Widened {
  __m512 first, second;
};
[[gnu::always_inline]] inline __m512 widened(__m256i row) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(row), 16));
}
[[gnu::always_inline]] inline Widened widened(__m512i row) {
  return {widened(_mm512_castsi512_si256(row)), widened(_mm512_extracti64x4_epi64(row, 1))};
}

constexpr __mmask32 kAllLanes = ~__mmask32(0);

/// (a, b) turned: (a cos - b sin, b cos + a sin), or back.
struct Turned {
  __m512 a, b;
};
[[gnu::always_inline]] inline Turned turned(__m512 a, __m512 b, const float* cos, const float* sin,
                                            __mmask32 mask, bool back) {
  const auto lanes = static_cast<__mmask16>(mask);
  const __m512 c = _mm512_maskz_loadu_ps(lanes, cos);
  const __m512 s = _mm512_xor_ps(_mm512_maskz_loadu_ps(lanes, sin), _mm512_set1_ps(back ? -0.0f : 0.0f));
  return {_mm512_fmsub_ps(a, c, _mm512_mul_ps(b, s)), _mm512_fmadd_ps(b, c, _mm512_mul_ps(a, s))};
}

struct RotatedRows {
  __m512i first, second;
};
/// 32 pairs of a head.
[[gnu::always_inline]] inline RotatedRows rotate_rows(__m512i first, __m512i second, const float* cos,
                                                      const float* sin, bool back) {
  const Widened a = widened(first), b = widened(second);
  const Turned low = turned(a.first, b.first, cos, sin, kAllLanes, back),
               high = turned(a.second, b.second, cos + 16, sin + 16, kAllLanes, back);
  return {rounded(low.a, high.a), rounded(low.b, high.b)};
}

/// The 16 pairs of a head of 32.
[[gnu::always_inline]] inline __m512i rotate_head_of_32(__m512i head, const float* cos, const float* sin,
                                                        bool back) {
  const Widened x = widened(head);
  const Turned t = turned(x.first, x.second, cos, sin, kAllLanes, back);
  return rounded(t.a, t.b);
}

}  // namespace
}  // namespace fathom
