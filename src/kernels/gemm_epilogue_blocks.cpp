// Epilogues with AVX-512: a row of a block is a register of bf16.

#include "kernels/gemm_epilogue_blocks.h"

#include <algorithm>
#include <limits>

// Everything below, and nothing above, may use AVX-512 (see gemm_avx512_bf16.cpp).
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#include "kernels/bf16_rows-inl.h"

namespace fathom::gemm_detail {
namespace {

static_assert(kStrip == kRowNumbers);

// Rows of a result, one after the other.
template <bool streams>
class Writer {
 public:
  explicit Writer(const BlockTarget& to) : at_(to.data), ld_(to.ld) {}
  void put(__m512i row) {
    if constexpr (streams)
      _mm512_stream_si512(reinterpret_cast<__m512i*>(at_), row);
    else
      _mm512_storeu_si512(at_, row);
    at_ += ld_;
  }

 private:
  bf16* at_;
  size_t ld_;
};

bool streams(const BlockTarget& to) {
  return to.streams && (reinterpret_cast<uintptr_t>(to.data) | to.ld * sizeof(bf16)) % 64 == 0;
}

// Calls fn(writer...) with writers for one or two targets; two stream together or not at all.
template <class Fn>
[[gnu::always_inline]] inline void with_writers(const BlockTarget& to, const Fn& fn) {
  if (streams(to)) return fn(Writer<true>(to));
  fn(Writer<false>(to));
}
template <class Fn>
[[gnu::always_inline]] inline void with_writers(const BlockTarget& one, const BlockTarget& other,
                                                const Fn& fn) {
  if (streams(one) && streams(other)) return fn(Writer<true>(one), Writer<true>(other));
  fn(Writer<false>(one), Writer<false>(other));
}

[[gnu::always_inline]] inline __m512i row_of(const float* sums, size_t r) {
  return rounded(_mm512_load_ps(sums + r * kStrip), _mm512_load_ps(sums + r * kStrip + kStrip / 2));
}

template <GateActivation f>
void swiglu_with(const float* gate, const float* up, size_t rows, const BlockTarget& out) {
  with_writers(out, [&](auto act) {
    for (size_t r = 0; r < rows; ++r) act.put(swiglu_row<f>(row_of(gate, r), row_of(up, r)));
  });
}

void swiglu(const float* gate, const float* up, size_t rows, const BlockTarget& act, GateActivation f) {
  if (f == GateActivation::kSilu) return swiglu_with<GateActivation::kSilu>(gate, up, rows, act);
  swiglu_with<GateActivation::kGeluTanh>(gate, up, rows, act);
}

void rope(const float* first, const float* second, const BlockTarget& first_out,
          const BlockTarget& second_out, const RopeBlock& block, const RopeTable<float>& table) {
  with_writers(first_out, second_out, [&](auto to_first, auto to_second) {
    RopeRows rows(block, table.half);
    for (size_t r = 0; r < block.rows; ++r) {
      const size_t at = rows.next();
      const RotatedRows x = rotate_rows(row_of(first, r), row_of(second, r), table.cos.data() + at,
                                        table.sin.data() + at, block.inverse);
      to_first.put(x.first);
      to_second.put(x.second);
    }
  });
}

void rope_of_a_head(const float* sums, const BlockTarget& out, const RopeBlock& block,
                    const RopeTable<float>& table) {
  with_writers(out, [&](auto to) {
    RopeRows rows(block, table.half);
    for (size_t r = 0; r < block.rows; ++r) {
      const size_t at = rows.next();
      to.put(rotate_head_of_32(row_of(sums, r), table.cos.data() + at, table.sin.data() + at, block.inverse));
    }
  });
}

void store(const float* sums, size_t rows, const BlockTarget& out) {
  with_writers(out, [&](auto to) {
    for (size_t r = 0; r < rows; ++r) to.put(row_of(sums, r));
  });
}

void add_exponentials(const float* logits, size_t rows, bool fresh, float* shifts, ExpLanes* lanes) {
  for (size_t r = 0; r < rows; ++r, logits += kStrip) {
    const __m512 first = _mm512_load_ps(logits), second = _mm512_load_ps(logits + kStrip / 2);
    const __m512 higher = _mm512_max_ps(first, second);
    __m512 sum = _mm512_setzero_ps();
    if (fresh) {
      shifts[r] = std::max(_mm512_reduce_max_ps(higher), std::numeric_limits<float>::lowest());
    } else {
      sum = _mm512_load_ps(lanes[r].sum);
      const __m512 bound = _mm512_set1_ps(shifts[r] + kMostAboveShift);
      if (_mm512_cmp_ps_mask(higher, bound, _CMP_GT_OQ) != 0) {
        const float highest = _mm512_reduce_max_ps(higher);
        sum = _mm512_mul_ps(sum, exp_below(_mm512_set1_ps(shifts[r] - highest)));
        shifts[r] = highest;
      }
    }
    const __m512 shift = _mm512_set1_ps(shifts[r]);
    sum = _mm512_add_ps(sum, exp_below(_mm512_sub_ps(first, shift)));
    sum = _mm512_add_ps(sum, exp_below(_mm512_sub_ps(second, shift)));
    _mm512_store_ps(lanes[r].sum, sum);
  }
}

}  // namespace

const EpilogueBlocks& avx512_epilogue_blocks() {
  static const EpilogueBlocks blocks{swiglu, rope, rope_of_a_head, store, add_exponentials};
  return blocks;
}

}  // namespace fathom::gemm_detail

#pragma GCC pop_options
