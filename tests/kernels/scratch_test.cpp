// The forecast of what kernels keep, against what they do keep.

#include "kernels/scratch.h"

#include <thread>
#include <vector>

#include "core/buffer.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/gemm.h"
#include "kernels/kernel_testing.h"

namespace fathom {
namespace {

using namespace testing;  // NOLINT: the helpers of these tests

// The kernels of a step over `s`, in their order but for what is not kept.
template <class W>
void step(const KernelSizes& s) {
  constexpr DType kW = dtype_of<W>(), kS = DType::kF32;
  const size_t qkv = s.q + 2 * s.kv, widest = std::max({s.V, 2 * s.F, qkv, s.C});
  const std::vector<W> x(s.rows * widest), weight(s.C * widest), y(s.rows * widest);
  std::vector<W> to(s.rows * widest);
  std::vector<float> stream(s.rows * widest), gradient(s.C * widest);
  for (const size_t out : {qkv, 2 * s.F}) {
    gemm(s.rows, out, s.C, {x.data(), kW, s.C}, {weight.data(), kW, s.C, true}, {to.data(), kW, out}, kW);
    gemm(out, s.C, s.rows, {y.data(), kW, out, true}, {x.data(), kW, s.C}, {gradient.data(), kS, s.C}, kW);
    gemm(s.rows, s.C, out, {y.data(), kW, out}, {weight.data(), kW, s.C}, {stream.data(), kS, s.C}, kW);
  }
  for (const size_t in : {s.q, s.F}) {
    const std::vector<float> dy(s.rows * s.C);
    gemm(s.rows, s.C, in, {x.data(), kW, in}, {weight.data(), kW, in, true}, {stream.data(), kS, s.C}, kW);
    gemm(s.C, in, s.rows, {dy.data(), kS, s.C, true}, {x.data(), kW, in}, {gradient.data(), kS, in}, kW);
    gemm(s.rows, in, s.C, {dy.data(), kS, s.C}, {weight.data(), kW, in}, {to.data(), kW, in}, kW);
  }
  const size_t heads = s.q / s.HS, kv_heads = s.kv / s.HS;
  AttentionShape a{s.rows / s.T, s.T, s.T, heads, kv_heads, s.HS, qkv, qkv, s.T * qkv};
  a.softcap = s.caps_scores ? 2.0 : 0.0;
  std::vector<W> out(s.rows * s.q), dqkv(s.rows * qkv);
  std::vector<float> lse(s.rows * heads);
  const W *k = x.data() + s.q, *v = k + s.kv;
  attention_forward(out.data(), lse.data(), x.data(), k, v, a);
  attention_backward(dqkv.data(), dqkv.data() + s.q, dqkv.data() + s.q + s.kv, out.data(), out.data(),
                     lse.data(), x.data(), k, v, a);
  const std::vector<int32_t> targets(s.rows);
  std::vector<double> nll(s.rows);
  head_loss_backward<W>(nll.data(), stream.data(), {gradient.data()}, x.data(),
                        {weight.data(), s.C, s.V, s.caps_logits ? 9.0 : 0.0, {}}, targets.data(), 1.0f,
                        s.rows);
}

// Of a thread that has run no kernel before, so that its scratch is made here.
template <class W>
void check(KernelSizes s) {
  s.compute = dtype_of<W>();
  SCOPED_TRACE(::testing::Message() << "C " << s.C << " V " << s.V << " rows " << s.rows << " in "
                                    << dtype_name(s.compute));
  size_t kept = 0;
  std::thread([&] {
    const size_t before = buffer_detail::held_bytes();
    step<W>(s);
    kept = buffer_detail::held_bytes() - before;
  }).join();
  kept -=
      std::min(s.rows, head_chunk_rows(s.V)) * s.V * sizeof(float);  // logits, which are planned elsewhere
  const size_t forecast = kernel_scratch_bytes(s);
  EXPECT_LE(kept, forecast);
  EXPECT_LE(forecast, 2 * kept);
}

TEST(KernelScratch, IsForecast) {
  set_num_threads(1);
  for_each_isa([] {
    if (active_isa() == Isa::kAmx && gemm_backend() == GemmBackend::kOneDnn) return;  // its own is not known
    KernelSizes small{.compute = DType::kF32,
                      .T = 70,
                      .HS = 24,
                      .C = 96,
                      .F = 200,
                      .q = 96,
                      .kv = 48,
                      .V = 1003,
                      .rows = 140};
    check<float>(small);
    check<bf16>(small);
    small.caps_scores = small.caps_logits = true;
    check<bf16>(small);
    // Deeper than what is packed at once: partial sums are kept; a head's last chunk of few rows.
    KernelSizes deep{.compute = DType::kF32,
                     .T = 70,
                     .HS = 32,
                     .C = 2144,
                     .F = 50,
                     .q = 64,
                     .kv = 32,
                     .V = 70,
                     .rows = 70};
    check<float>(deep);
    check<bf16>(deep);
    if (active_isa() == Isa::kScalar) return;  // half a minute
    KernelSizes many = small;
    many.caps_scores = many.caps_logits = false;
    many.rows = 1050;  // a multiple of T, and a chunk of 1024 logits with 26 more
    check<bf16>(many);
  });
  set_num_threads(0);
}

}  // namespace
}  // namespace fathom
