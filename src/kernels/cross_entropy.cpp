#include "kernels/cross_entropy.h"

#include <algorithm>

#include "core/buffer.h"
#include "core/threads.h"
#include "kernels/gemm.h"

namespace fathom {
namespace {

template <class W>
void head_loss(double* nll, Stream<W>* dx, Stream<W>* dhead, const W* x, const W* head,
               const int32_t* targets, Stream<W> grad_scale, size_t rows, size_t C, size_t V) {
  using S = Stream<W>;
  constexpr DType kW = dtype_of<W>(), kS = dtype_of<S>();
  const size_t chunk = std::min(rows, kHeadChunkRows);
  Buffer<S> logits(chunk * V);
  for (size_t r0 = 0; r0 < rows; r0 += chunk) {
    const size_t n = std::min(chunk, rows - r0);
    gemm(n, V, C, {x + r0 * C, kW, C}, {head, kW, C, true}, {logits.data(), kS, V}, kW);
    parallel_ranges(n, 4, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r) {
        nll[r0 + r] = softmax_nll_row(logits.data() + r * V, targets[r0 + r], dx != nullptr, grad_scale, V);
      }
    });
    if (dx == nullptr) continue;
    gemm(n, C, V, {logits.data(), kS, V}, {head, kW, C}, {dx + r0 * C, kS, C}, kW);
    if (dhead == nullptr) continue;
    gemm(V, C, n, {logits.data(), kS, V, true}, {x + r0 * C, kW, C}, {dhead, kS, C}, kW, {dhead, C, 1.0});
  }
}

}  // namespace

template <class W>
void head_loss_forward(double* nll, const W* x, const W* head, const int32_t* targets, size_t rows, size_t C,
                       size_t V) {
  head_loss<W>(nll, nullptr, nullptr, x, head, targets, 0, rows, C, V);
}

template <class W>
void head_loss_backward(double* nll, Stream<W>* dx, Stream<W>* dhead, const W* x, const W* head,
                        const int32_t* targets, Stream<W> grad_scale, size_t rows, size_t C, size_t V) {
  head_loss<W>(nll, dx, dhead, x, head, targets, grad_scale, rows, C, V);
}

template <class S>
double softmax_nll_row(S* logits, int32_t target, bool gradient, S grad_scale, size_t V) {
  return softmax_nll_row_ref(logits, target, gradient, grad_scale, V);
}

#define FATHOM_INSTANTIATE(W)                                                                           \
  template void head_loss_forward(double*, const W*, const W*, const int32_t*, size_t, size_t, size_t); \
  template void head_loss_backward(double*, Stream<W>*, Stream<W>*, const W*, const W*, const int32_t*, \
                                   Stream<W>, size_t, size_t, size_t);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE
template double softmax_nll_row(double*, int32_t, bool, double, size_t);
template double softmax_nll_row(float*, int32_t, bool, float, size_t);

}  // namespace fathom
