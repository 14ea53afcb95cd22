#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace fathom {
namespace {

template <class W>
double dot(const W* a, const W* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// The score of a product of q and k, and its derivative by the product.
struct Score {
  double value, slope;
};
Score score_of(const AttentionShape& s, double product) {
  const double scaled = s.score_scale() * product;
  if (s.softcap == 0) return {scaled, s.score_scale()};
  const double t = std::tanh(scaled / s.softcap);
  return {s.softcap * t, s.score_scale() * (1.0 - t * t)};
}

// The range of keys [first, last] that query t of sequence b sees.
struct Range {
  size_t first, last;
};
Range keys_of(const AttentionShape& s, size_t b, size_t t) {
  const size_t first = s.first_key != nullptr ? static_cast<size_t>(s.first_key[b * s.Tq + t]) : 0;
  return {first, s.q_start + t};
}

}  // namespace

template <class W>
void attention_forward_ref(W* out, Stream<W>* lse, const W* q, const W* k, const W* v,
                           const AttentionShape& s) {
  std::vector<double> p(s.Tk), sum_v(s.HS);
  for (size_t b = 0; b < s.B; ++b) {
    for (size_t h = 0; h < s.NH; ++h) {
      const size_t kv = b * s.kv_batch_stride + h / (s.NH / s.NKV) * s.HS;
      for (size_t t = 0; t < s.Tq; ++t) {
        const W* q_t = q + (b * s.Tq + t) * s.q_stride + h * s.HS;
        const auto [first, last] = keys_of(s, b, t);
        double highest = -INFINITY, total = 0;
        for (size_t j = first; j <= last; ++j) {
          p[j] = score_of(s, dot(q_t, k + kv + j * s.kv_stride, s.HS)).value;
          highest = std::max(highest, p[j]);
        }
        sum_v.assign(s.HS, 0.0);
        for (size_t j = first; j <= last; ++j) {
          const double e = std::exp(p[j] - highest);
          total += e;
          for (size_t i = 0; i < s.HS; ++i) sum_v[i] += e * static_cast<double>(v[kv + j * s.kv_stride + i]);
        }
        lse[(b * s.NH + h) * s.Tq + t] = static_cast<Stream<W>>(highest + std::log(total));
        W* out_t = out + (b * s.Tq + t) * s.NH * s.HS + h * s.HS;
        for (size_t i = 0; i < s.HS; ++i) out_t[i] = W(static_cast<Stream<W>>(sum_v[i] / total));
      }
    }
  }
}

template <class W>
void attention_backward_ref(W* dq, W* dk, W* dv, const W* dout, const W* out, const Stream<W>* lse,
                            const W* q, const W* k, const W* v, const AttentionShape& s) {
  const size_t group = s.NH / s.NKV;
  std::vector<double> dk_sum(s.Tk * s.HS), dv_sum(s.Tk * s.HS), dq_sum(s.HS);
  for (size_t b = 0; b < s.B; ++b) {
    for (size_t g = 0; g < s.NKV; ++g) {
      const size_t kv = b * s.kv_batch_stride + g * s.HS;
      dk_sum.assign(s.Tk * s.HS, 0.0);
      dv_sum.assign(s.Tk * s.HS, 0.0);
      for (size_t h = g * group; h < (g + 1) * group; ++h) {
        for (size_t t = 0; t < s.Tq; ++t) {
          const size_t q_at = (b * s.Tq + t) * s.q_stride + h * s.HS;
          const size_t o_at = (b * s.Tq + t) * s.NH * s.HS + h * s.HS;
          const double delta = dot(dout + o_at, out + o_at, s.HS);  // sum_j p_j dp_j
          const auto [first, last] = keys_of(s, b, t);
          dq_sum.assign(s.HS, 0.0);
          for (size_t j = first; j <= last; ++j) {
            const size_t kv_at = kv + j * s.kv_stride;
            const Score score = score_of(s, dot(q + q_at, k + kv_at, s.HS));
            const double p = std::exp(score.value - static_cast<double>(lse[(b * s.NH + h) * s.Tq + t]));
            const double ds = score.slope * p * (dot(dout + o_at, v + kv_at, s.HS) - delta);
            for (size_t i = 0; i < s.HS; ++i) {
              dv_sum[j * s.HS + i] += p * static_cast<double>(dout[o_at + i]);
              dk_sum[j * s.HS + i] += ds * static_cast<double>(q[q_at + i]);
              dq_sum[i] += ds * static_cast<double>(k[kv_at + i]);
            }
          }
          for (size_t i = 0; i < s.HS; ++i) dq[q_at + i] = W(static_cast<Stream<W>>(dq_sum[i]));
        }
      }
      for (size_t j = 0; j < s.Tk; ++j) {
        for (size_t i = 0; i < s.HS; ++i) {
          dk[kv + j * s.kv_stride + i] = W(static_cast<Stream<W>>(dk_sum[j * s.HS + i]));
          dv[kv + j * s.kv_stride + i] = W(static_cast<Stream<W>>(dv_sum[j * s.HS + i]));
        }
      }
    }
  }
}

#define FATHOM_INSTANTIATE(W)                                                                                \
  template void attention_forward_ref(W*, Stream<W>*, const W*, const W*, const W*, const AttentionShape&);  \
  template void attention_backward_ref(W*, W*, W*, const W*, const W*, const Stream<W>*, const W*, const W*, \
                                       const W*, const AttentionShape&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
