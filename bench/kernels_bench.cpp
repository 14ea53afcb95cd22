// Speed of the kernels other than GEMM, one thread. Passes over memory report bytes per second (of the arrays
// that they must read and write, once each), attention reports floating-point operations per second of the
// causal half. Rates are of processor time, so that a shared machine distorts them less.

#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "core/rng.h"
#include "core/threads.h"
#include "core/types.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/isa.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "kernels/vector_ops.h"

namespace fathom {
namespace {

template <class W>
std::vector<W> random_values(size_t n) {
  Rng rng(1);
  std::vector<W> values(n);
  for (W& v : values) v = W(static_cast<Stream<W>>(rng.normal()));
  return values;
}

void report_bytes(benchmark::State& state, size_t bytes) {
  state.counters["B/s"] = benchmark::Counter(
      static_cast<double>(bytes), benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

void report_flops(benchmark::State& state, double flops) {
  state.counters["FLOP/s"] =
      benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

// The yardstick for the others: what this machine copies.
void BM_Memcpy(benchmark::State& state) {
  const auto n = static_cast<size_t>(state.range(0));
  const auto from = random_values<float>(n);
  std::vector<float> to(n);
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), n * sizeof(float));
    benchmark::ClobberMemory();
  }
  report_bytes(state, 2 * n * sizeof(float));
}
BENCHMARK(BM_Memcpy)->Arg(1 << 14)->Arg(1 << 24);

// Shapes of llama-130m: 4096 rows of 768, F = 2048.
constexpr size_t kRows = 4096, kC = 768, kF = 2048;

void BM_RmsNormForwardBf16(benchmark::State& state) {
  const auto x = random_values<float>(kRows * kC), weight = random_values<float>(kC);
  std::vector<bf16> y(kRows * kC);
  std::vector<float> rstd(kRows);
  for (auto _ : state)
    rmsnorm_forward(y.data(), rstd.data(), x.data(), weight.data(), 1.0f, 1e-6f, kRows, kC);
  report_bytes(state, kRows * kC * 6);
}
BENCHMARK(BM_RmsNormForwardBf16);

void BM_RmsNormBackward(benchmark::State& state) {
  const auto x = random_values<float>(kRows * kC), dy = x, weight = random_values<float>(kC);
  std::vector<float> dx(kRows * kC), rstd(kRows, 1.0f), dweight(kC);
  for (auto _ : state) {
    rmsnorm_backward(dx.data(), true, dweight.data(), dy.data(), x.data(), weight.data(), rstd.data(), 1.0f,
                     kRows, kC);
  }
  report_bytes(state, kRows * kC * 16);  // x, dy, and dx read and written
}
BENCHMARK(BM_RmsNormBackward);

template <class W>
void BM_SwiGluForward(benchmark::State& state) {
  const auto gate_up = random_values<W>(kRows * 2 * kF);
  std::vector<W> act(kRows * kF);
  for (auto _ : state) swiglu_forward(act.data(), gate_up.data(), kRows, kF);
  report_bytes(state, kRows * kF * 3 * sizeof(W));
}
BENCHMARK(BM_SwiGluForward<float>);
BENCHMARK(BM_SwiGluForward<bf16>);

template <class W>
void BM_SwiGluBackward(benchmark::State& state) {
  const auto gate_up = random_values<W>(kRows * 2 * kF), dact = random_values<W>(kRows * kF);
  std::vector<W> dgate_up(kRows * 2 * kF);
  for (auto _ : state) swiglu_backward(dgate_up.data(), dact.data(), gate_up.data(), kRows, kF);
  report_bytes(state, kRows * kF * 5 * sizeof(W));
}
BENCHMARK(BM_SwiGluBackward<float>);
BENCHMARK(BM_SwiGluBackward<bf16>);

template <class M>
void BM_AdamW(benchmark::State& state) {
  const size_t n = size_t{1} << 23;
  auto p = random_values<float>(n);
  const auto g = p;
  std::vector<M> m(n), v(n);
  std::vector<bf16> copy(n);
  for (auto _ : state) adamw_update(p.data(), m.data(), v.data(), g.data(), copy.data(), n, {});
  report_bytes(state, n * (3 * 4 + 4 * sizeof(M) + 2));
}
BENCHMARK(BM_AdamW<float>);
BENCHMARK(BM_AdamW<bf16>);

void BM_SoftmaxNllRow(benchmark::State& state) {
  const size_t V = 32000;
  const auto start = random_values<float>(V);
  auto logits = start;
  for (auto _ : state) benchmark::DoNotOptimize(softmax_nll_row(logits.data(), 7, true, 1.0f, V));
  report_bytes(state, V * 8);
}
BENCHMARK(BM_SoftmaxNllRow);

void BM_RopeBf16(benchmark::State& state) {
  const size_t HS = 64, heads = 24, stride = 36 * HS, T = 256;
  const RopeTable<float> table(T, rope_frequencies(HS, 10000.0));
  auto x = random_values<bf16>(kRows * stride);
  for (auto _ : state) rope(x.data(), kRows, stride, heads, HS, T, 0, table, false);
  report_bytes(state, kRows * heads * HS * 4);
}
BENCHMARK(BM_RopeBf16);

void BM_ResidualAdd(benchmark::State& state) {
  auto x = random_values<float>(kRows * kC);
  const auto y = x;
  for (auto _ : state) residual_add(x.data(), x.data(), y.data(), 0.5f, x.size());
  report_bytes(state, kRows * kC * 12);
}
BENCHMARK(BM_ResidualAdd);

void BM_ConvertToBf16(benchmark::State& state) {
  const auto x = random_values<float>(kRows * kC);
  std::vector<bf16> y(x.size());
  for (auto _ : state) convert(y.data(), x.data(), x.size());
  report_bytes(state, kRows * kC * 6);
}
BENCHMARK(BM_ConvertToBf16);

void BM_SumSquares(benchmark::State& state) {
  const auto x = random_values<float>(kRows * kC);
  for (auto _ : state) benchmark::DoNotOptimize(sum_squares(x.data(), x.size()));
  report_bytes(state, kRows * kC * 4);
}
BENCHMARK(BM_SumSquares);

// One sequence of T, 4 heads of HS.
template <class W>
struct AttentionCase {
  size_t HS, T, NH = 4;
  std::vector<W> qkv, out, dout, dqkv;
  std::vector<float> lse;
  AttentionShape shape;

  explicit AttentionCase(const benchmark::State& state)
      : HS(static_cast<size_t>(state.range(0))), T(static_cast<size_t>(state.range(1))) {
    const size_t stride = 3 * NH * HS;
    qkv = random_values<W>(T * stride);
    dout = out = random_values<W>(T * NH * HS);
    dqkv.resize(qkv.size());
    lse.resize(NH * T);
    shape = {1, T, T, NH, NH, HS, stride, stride, T * stride, 0, nullptr};
    forward();
  }
  void forward() {
    attention_forward(out.data(), lse.data(), qkv.data(), qkv.data() + NH * HS, qkv.data() + 2 * NH * HS,
                      shape);
  }
  void backward() {
    W* dq = dqkv.data();
    const W* q = qkv.data();
    attention_backward(dq, dq + NH * HS, dq + 2 * NH * HS, dout.data(), out.data(), lse.data(), q,
                       q + NH * HS, q + 2 * NH * HS, shape);
  }
  // `products` products of T x T x HS, of which the causal half counts.
  double flops(double products) const { return products * static_cast<double>(T * (T + 1) * HS * NH); }
};

template <class W>
void BM_AttentionForward(benchmark::State& state) {
  AttentionCase<W> c(state);
  for (auto _ : state) c.forward();
  report_flops(state, c.flops(2));
}
template <class W>
void BM_AttentionBackward(benchmark::State& state) {
  AttentionCase<W> c(state);
  for (auto _ : state) c.backward();
  report_flops(state, c.flops(5));
}
#define FATHOM_ATTENTION(name) BENCHMARK(name)->Args({32, 256})->Args({64, 256})->Args({64, 1024})
FATHOM_ATTENTION(BM_AttentionForward<float>);
FATHOM_ATTENTION(BM_AttentionForward<bf16>);
FATHOM_ATTENTION(BM_AttentionBackward<float>);
FATHOM_ATTENTION(BM_AttentionBackward<bf16>);
#undef FATHOM_ATTENTION

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  fathom::set_num_threads(1);
  benchmark::AddCustomContext("isa", std::string(fathom::isa_name(fathom::active_isa())));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
