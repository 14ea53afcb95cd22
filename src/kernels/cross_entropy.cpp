#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "core/buffer.h"
#include "core/profile.h"
#include "core/threads.h"
#include "kernels/gemm.h"
#include "kernels/gemm_epilogues.h"
#include "kernels/softcap.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy.cpp"
#include "kernels/simd-inl.h"

#if FATHOM_SIMD_PASS
HWY_BEFORE_NAMESPACE();
namespace fathom {
namespace HWY_NAMESPACE {
namespace {

// The sum of exp(x - highest), and, where `keep` is set, x <- exp(x - highest). Partial sums of 64 vectors
// are fp32, their total is double: with 32000 terms, an fp32 total would cost three digits of the loss.
template <bool keep>
double exp_and_sum(float* x, float highest, size_t n) {
  const F32 d;
  const V32 vhighest = hn::Set(d, highest);
  constexpr size_t kBlock = 64 * kLanes;
  double total = 0;
  size_t i = 0;
  while (i + kLanes <= n) {
    const size_t end = n - i < kBlock ? n - i : kBlock;
    V32 sum = hn::Zero(d);
    for (const size_t stop = i + end / kLanes * kLanes; i < stop; i += kLanes) {
      const V32 e = exp_bounded(hn::Sub(load(x + i), vhighest));
      if constexpr (keep) store(e, x + i);
      sum = hn::Add(sum, e);
    }
    total += static_cast<double>(sum_lanes(sum));
  }
  if (i < n) {
    HWY_ALIGN float e[kLanes];
    store(exp_bounded(hn::Sub(load_n(x + i, n - i), vhighest)), e);
    for (size_t j = 0; i + j < n; ++j) {
      total += static_cast<double>(e[j]);
      if constexpr (keep) x[i + j] = e[j];
    }
  }
  return total;
}

void scale_row(float* x, float factor, size_t n) {
  const V32 vfactor = hn::Set(F32(), factor);
  for (size_t i = 0; i < n; i += kLanes) store_n(hn::Mul(vfactor, load_n(x + i, n - i)), x + i, n - i);
}

// x as bf16, in its own memory: what is written lies before what is still to be read.
void round_row(float* x, size_t n) {
  auto* to = reinterpret_cast<bf16*>(x);
  for (size_t i = 0; i < n; i += kLanes) store_n(load_n(x + i, n - i), to + i, n - i);
}

// softmax_nll_row for a scored target.
double scored_row(float* logits, size_t target, bool gradient, float grad_scale, size_t V) {
  const float highest = highest_of(logits, V);
  const double below = static_cast<double>(highest) - static_cast<double>(logits[target]);
  const double total =
      gradient ? exp_and_sum<true>(logits, highest, V) : exp_and_sum<false>(logits, highest, V);
  if (gradient) {
    scale_row(logits, static_cast<float>(static_cast<double>(grad_scale) / total), V);
    logits[target] -= grad_scale;
  }
  return __builtin_log(total) + below;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fathom
HWY_AFTER_NAMESPACE();
#endif  // FATHOM_SIMD_PASS

#if HWY_ONCE
namespace fathom {
namespace {

// The loss of one row of capped logits; the gradient in their place is that of the raw ones.
template <class S>
double capped_nll_row(S* logits, int32_t target, bool gradient, S grad_scale, size_t V, S cap) {
  softcap_forward(logits, cap, V);
  if (!gradient) return softmax_nll_row(logits, target, false, grad_scale, V);
  static thread_local Buffer<S> capped;
  std::copy(logits, logits + V, ensure(capped, V));
  const double nll = softmax_nll_row(logits, target, true, grad_scale, V);
  softcap_backward(logits, capped.data(), cap, V);
  return nll;
}

// Kept between calls: fresh memory would be zeroed by the kernel and mapped page by page in every
// micro-batch.
template <class S>
S* logits_scratch(size_t n) {
  static thread_local Buffer<S> memory;
  return ensure(memory, n);
}

// x as bf16, in its own memory, number by number.
void round_row_ref(float* x, size_t n) {
  auto* bytes = reinterpret_cast<std::byte*>(x);
  for (size_t i = 0; i < n; ++i) {
    const bf16 rounded(x[i]);
    std::memcpy(bytes + i * sizeof(bf16), &rounded, sizeof(bf16));
  }
}

// One row of logits to its loss and, where `gradient` is set, to its own gradient, in the type that the
// products read: bf16 takes half of the memory's time, and they would round to it anyway.
template <class W>
double row_loss(Stream<W>* logits, int32_t target, bool gradient, Stream<W> grad_scale, size_t V,
                double softcap) {
  using S = Stream<W>;
  const double nll = softcap == 0
                         ? softmax_nll_row(logits, target, gradient, grad_scale, V)
                         : capped_nll_row(logits, target, gradient, grad_scale, V, static_cast<S>(softcap));
  if constexpr (std::is_same_v<W, bf16>) {
    if (gradient) (use_simd<S>() ? FATHOM_SIMD(round_row) : &round_row_ref)(logits, V);
  }
  return nll;
}

// dx null: the losses alone.
template <class W>
void head_loss(double* nll, Stream<W>* dx, HeadGradient<Stream<W>> dhead, const W* x,
               const OutputHead<W>& head, const int32_t* targets, Stream<W> grad_scale, size_t rows) {
  using S = Stream<W>;
  constexpr DType kW = dtype_of<W>(), kS = dtype_of<S>();
  const size_t C = head.C, V = head.V, chunk = std::min(rows, head_chunk_rows(V));
  for (size_t r0 = 0; r0 < rows; r0 += chunk) {
    const size_t n = std::min(chunk, rows - r0);
    if (std::is_same_v<W, bf16> && dx == nullptr && head.softcap == 0) {
      const ProfileScope scope("head forward");
      if (gemm_softmax_nll(nll + r0, targets + r0, n, V, C, {x + r0 * C, kW, C},
                           {head.weight, kW, C, true, head.packed.forward}))
        continue;
    }
    S* logits = logits_scratch<S>(chunk * V);
    {
      const ProfileScope scope("head forward");
      gemm(n, V, C, {x + r0 * C, kW, C}, {head.weight, kW, C, true, head.packed.forward}, {logits, kS, V},
           kW);
    }
    {
      const ProfileScope scope("cross-entropy", 0, static_cast<double>(n * V * sizeof(S) * (dx ? 2 : 1)));
      parallel_ranges(n, 4, [&](size_t begin, size_t end) {
        for (size_t r = begin; r < end; ++r) {
          nll[r0 + r] =
              row_loss<W>(logits + r * V, targets[r0 + r], dx != nullptr, grad_scale, V, head.softcap);
        }
      });
    }
    if (dx == nullptr) continue;
    const MatrixIn gradient{logits, kW, V * sizeof(S) / sizeof(W)};
    {
      const ProfileScope scope("head dgrad");
      gemm(n, C, V, gradient, {head.weight, kW, C, false, head.packed.dgrad}, {dx + r0 * C, kS, C}, kW);
    }
    if (dhead.weight == nullptr) continue;
    const ProfileScope scope("head wgrad");
    const bool adds = r0 > 0 || !dhead.fresh;
    gemm(V, C, n, {gradient.data, kW, gradient.ld, true}, {x + r0 * C, kW, C}, {dhead.weight, kS, C}, kW,
         adds ? Addend{dhead.weight, C, 1.0} : Addend{});
  }
}

}  // namespace

template <class W>
void head_loss_forward(double* nll, const W* x, const OutputHead<W>& head, const int32_t* targets,
                       size_t rows) {
  head_loss<W>(nll, nullptr, {}, x, head, targets, 0, rows);
}

template <class W>
void head_loss_backward(double* nll, Stream<W>* dx, HeadGradient<Stream<W>> dhead, const W* x,
                        const OutputHead<W>& head, const int32_t* targets, Stream<W> grad_scale,
                        size_t rows) {
  head_loss<W>(nll, dx, dhead, x, head, targets, grad_scale, rows);
}

template <class S>
double softmax_nll_row(S* logits, int32_t target, bool gradient, S grad_scale, size_t V) {
  if constexpr (std::is_same_v<S, float>) {
    if (use_simd<S>() && target != kIgnoredTarget) {
      return FATHOM_SIMD(scored_row)(logits, static_cast<size_t>(target), gradient, grad_scale, V);
    }
  }
  return softmax_nll_row_ref(logits, target, gradient, grad_scale, V);
}

#define FATHOM_INSTANTIATE(W)                                                                       \
  template void head_loss_forward(double*, const W*, const OutputHead<W>&, const int32_t*, size_t); \
  template void head_loss_backward(double*, Stream<W>*, HeadGradient<Stream<W>>, const W*,          \
                                   const OutputHead<W>&, const int32_t*, Stream<W>, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE
template double softmax_nll_row(double*, int32_t, bool, double, size_t);
template double softmax_nll_row(float*, int32_t, bool, float, size_t);

}  // namespace fathom
#endif  // HWY_ONCE
