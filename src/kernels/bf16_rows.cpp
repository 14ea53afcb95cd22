#include "kernels/bf16_rows.h"

// Everything below, and nothing above, may use AVX-512 (see gemm_avx512_bf16.cpp).
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#include "kernels/bf16_rows-inl.h"

namespace fathom {
namespace {

// The places of a row that n numbers fill.
__mmask32 mask_of(size_t n) { return n >= kRowNumbers ? ~__mmask32(0) : (__mmask32(1) << n) - 1; }

__m512i load(const bf16* from, __mmask32 mask) { return _mm512_maskz_loadu_epi16(mask, from); }
void store(bf16* to, __mmask32 mask, __m512i row) { _mm512_mask_storeu_epi16(to, mask, row); }

template <GateActivation f>
void forward_rows(bf16* act, size_t act_ld, const bf16* gate, const bf16* up, const SwigluBlock& block) {
  for (size_t r = 0; r < block.rows; ++r, act += act_ld, gate += block.ld, up += block.ld) {
    for (size_t i = 0; i < block.columns; i += kRowNumbers) {
      const __mmask32 mask = mask_of(block.columns - i);
      __builtin_prefetch(gate + i + block.ahead);
      __builtin_prefetch(up + i + block.ahead);
      store(act + i, mask, swiglu_row<f>(load(gate + i, mask), load(up + i, mask)));
    }
  }
}

template <GateActivation f>
void backward_rows(bf16* dgate_up, const bf16* dact, const bf16* gate_up, const SwigluBlock& block) {
  const size_t F = block.columns, ld = block.ld;
  for (size_t r = 0; r < block.rows; ++r, dact += F, dgate_up += ld, gate_up += ld) {
    for (size_t i = 0; i < F; i += kRowNumbers) {
      const __mmask32 mask = mask_of(F - i);
      const bf16 *gate = gate_up + i, *up = gate + F;
      __builtin_prefetch(gate + block.ahead);
      __builtin_prefetch(up + block.ahead);
      const GradientRows d = swiglu_backward_row<f>(load(gate, mask), load(up, mask), load(dact + i, mask));
      store(dgate_up + i, mask, d.gate);
      store(dgate_up + F + i, mask, d.up);
    }
  }
}

}  // namespace

void swiglu_forward_bf16(bf16* act, size_t act_ld, const bf16* gate, const bf16* up, const SwigluBlock& block,
                         GateActivation f) {
  const auto rows = f == GateActivation::kSilu ? forward_rows<GateActivation::kSilu>
                                               : forward_rows<GateActivation::kGeluTanh>;
  rows(act, act_ld, gate, up, block);
}

SwigluBackwardRows swiglu_backward_bf16(GateActivation f) {
  return f == GateActivation::kSilu ? backward_rows<GateActivation::kSilu>
                                    : backward_rows<GateActivation::kGeluTanh>;
}

void scale_row_bf16(bf16* y, const float* x, const float* weight, float factor, size_t n) {
  const __m512 vfactor = _mm512_set1_ps(factor);
  for (size_t i = 0; i < n; i += kRowNumbers) {
    const __mmask32 mask = mask_of(n - i);
    const auto scaled = [&](size_t at, __mmask32 lanes) {
      const auto low = static_cast<__mmask16>(lanes);
      return _mm512_mul_ps(_mm512_mul_ps(vfactor, _mm512_maskz_loadu_ps(low, x + at)),
                           _mm512_maskz_loadu_ps(low, weight + at));
    };
    store(y + i, mask, rounded(scaled(i, mask), scaled(i + 16, mask >> 16)));
  }
}

void rope_block_bf16(bf16* a, bf16* b, const RopeBlock& block, const RopeTable<float>& table) {
  RopeRows rows(block, table.half);
  for (size_t r = 0; r < block.rows; ++r, a += block.ld, b += block.ld) {
    const size_t at = rows.next();
    for (size_t i = 0; i < block.pairs; i += kRowNumbers) {
      const __mmask32 mask = mask_of(block.pairs - i);
      const Widened x = widened(load(a + i, mask)), y = widened(load(b + i, mask));
      const Turned low =
          turned(x.first, y.first, table.cos.data() + at + i, table.sin.data() + at + i, mask, block.inverse);
      const Turned high = turned(x.second, y.second, table.cos.data() + at + i + 16,
                                 table.sin.data() + at + i + 16, mask >> 16, block.inverse);
      store(a + i, mask, rounded(low.a, high.a));
      store(b + i, mask, rounded(low.b, high.b));
    }
  }
}

}  // namespace fathom

#pragma GCC pop_options
