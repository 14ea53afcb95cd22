// fathom bench elementwise: the passes over memory of a training step, each standing alone on arrays larger
// than the caches, as fractions of the bandwidth that the machine shows for the same mix of reads and writes.

#include <algorithm>

#include <fmt/format.h>

#include "cli/bench.h"
#include "cli/bench_memory.h"
#include "core/rng.h"
#include "core/threads.h"
#include "kernels/adamw.h"
#include "kernels/embedding.h"
#include "kernels/isa.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "kernels/vector_ops.h"

namespace fathom::cli {
namespace {

using nlohmann::json;

struct Settings {
  size_t rows = 16384, hidden = 768, ffn = 2048, vocab = 32000;
  int samples = 7;
};

template <class W>
Buffer<W> random_buffer(size_t n) {
  Buffer<W> values(n);
  constexpr size_t kGrain = 65536;
  parallel_ranges(n, kGrain, [&](size_t begin, size_t end) {
    Rng rng(1, begin);
    for (size_t i = begin; i < end; ++i) values[i] = W(static_cast<float>(rng.uniform() - 0.5));
  });
  return values;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Times kernels against plain traffic of the same mix. The samples alternate, because what other tenants of a
// machine leave of its memory changes from second to second.
class Comparison {
 public:
  Comparison(const Settings& s, json& results) : s_(s), results_(results) {}

  /// `bytes`: what one call of fn reads and writes, an updated array counted twice.
  void measure(const std::string& name, const std::string& mix, size_t bytes,
               const std::function<void()>& fn) {
    MemoryTraffic traffic(memory_mix(mix).mix);
    const auto plain = [&](StoreKind stores) {
      return traffic.bytes() / time_once([&] { traffic.pass(stores, true); });
    };
    fn();
    plain(StoreKind::kOrdinary);
    std::vector<double> kernel, ordinary, best, fractions;
    for (int i = 0; i < s_.samples; ++i) {
      kernel.push_back(static_cast<double>(bytes) / time_once(fn));
      best.push_back(0);
      for (StoreKind stores : traffic.store_kinds()) {
        const double rate = plain(stores);
        if (stores == StoreKind::kOrdinary) ordinary.push_back(rate);
        best.back() = std::max(best.back(), rate);
      }
      fractions.push_back(kernel.back() / best.back());
    }
    std::sort(fractions.begin(), fractions.end());
    const double rate = median(kernel), stores = median(ordinary), most = median(best);
    const double fraction = median(fractions), of_ordinary = rate / stores;
    const double spread = (fractions.back() - fractions.front()) / fraction;
    fmt::print("{:<34} {:<24} {:>6.1f} GB/s {:>4.0f}% of {:>5.1f}, {:>4.0f}% of {:>5.1f}, spread {:>3.0f}%\n",
               name, mix, rate / 1e9, 100 * of_ordinary, stores / 1e9, 100 * fraction, most / 1e9,
               100 * spread);
    json row = bench_row(name);
    row.update({{"mix", mix},
                {"gbytes_per_second", rate / 1e9},
                {"fraction_of_peak", fraction},
                {"fraction_of_ordinary_stores", of_ordinary},
                {"peak_gbytes_per_second", most / 1e9},
                {"ordinary_stores_gbytes_per_second", stores / 1e9},
                {"spread", spread}});
    results_.push_back(row);
  }

 private:
  const Settings& s_;
  json& results_;
};

void measure_norms(Comparison& to, const Settings& s) {
  const size_t n = s.rows * s.hidden;
  const auto x = random_buffer<float>(n), dh = random_buffer<float>(n),
             weight = random_buffer<float>(s.hidden);
  Buffer<float> dx(n), rstd(s.rows), dweight(s.hidden);
  Buffer<bf16> h(n);
  to.measure("RMSNorm forward, to bf16", "2 read 1 write", n * 6, [&] {
    rmsnorm_forward(h.data(), rstd.data(), x.data(), weight.data(), 1.0f, 1e-6f, s.rows, s.hidden);
  });
  to.measure("RMSNorm backward, onto the stream", "2 read 1 update", n * 16, [&] {
    rmsnorm_backward(dx.data(), true, dweight.data(), dh.data(), x.data(), weight.data(), rstd.data(), 1.0f,
                     s.rows, s.hidden);
  });
}

void measure_swiglu(Comparison& to, const Settings& s) {
  const size_t n = s.rows * s.ffn;
  const auto gate_up = random_buffer<bf16>(2 * n), dact = random_buffer<bf16>(n);
  Buffer<bf16> act(n), dgate_up(2 * n);
  to.measure("SwiGLU forward", "2 read 1 write", n * 6,
             [&] { swiglu_forward(act.data(), gate_up.data(), s.rows, s.ffn); });
  to.measure("SwiGLU backward", "3 read 2 write", n * 10,
             [&] { swiglu_backward(dgate_up.data(), dact.data(), gate_up.data(), s.rows, s.ffn); });
}

void measure_rope(Comparison& to, const Settings& s) {
  constexpr size_t kHeadSize = 64, kPositions = 256;
  const size_t heads = std::max<size_t>(1, 2 * s.hidden / kHeadSize), row = heads * kHeadSize;
  auto x = random_buffer<bf16>(s.rows * row);
  const RopeTable<float> table(kPositions, rope_frequencies(kHeadSize, 10000.0));
  to.measure("RoPE", "update", s.rows * row * 4,
             [&] { rope<bf16>(x.data(), s.rows, row, heads, kHeadSize, kPositions, 0, table, false); });
}

void measure_adamw(Comparison& to, const Settings& s) {
  const size_t n = s.rows * s.hidden;
  auto p = random_buffer<float>(n);
  const auto g = random_buffer<float>(n);
  Buffer<float> m(n), v(n);
  Buffer<bf16> copy(n);
  AdamWSettings settings;
  to.measure("AdamW with bf16 copy", "2 read 6 update 1 write", n * 30, [&] {
    adamw_update(p.data(), m.data(), v.data(), g.data(), copy.data(), n, settings);
    ++settings.step;
  });
}

void measure_embedding(Comparison& to, const Settings& s) {
  const size_t n = s.rows * s.hidden;
  const auto table = random_buffer<bf16>(s.vocab * s.hidden);
  const auto dx = random_buffer<float>(n);
  Buffer<float> x(n), dtable(s.vocab * s.hidden);
  std::vector<int32_t> tokens(s.rows);
  Rng rng(1);
  for (int32_t& t : tokens) t = static_cast<int32_t>(rng.below(s.vocab));
  to.measure("embedding forward, random ids", "1 read 2 write", n * 6,
             [&] { embedding_forward<bf16>(x.data(), table.data(), tokens.data(), s.rows, s.hidden); });
  to.measure("embedding backward, random ids", "1 read 1 update", n * 12,
             [&] { embedding_backward(dtable.data(), dx.data(), tokens.data(), s.rows, s.hidden); });
}

void measure_vectors(Comparison& to, const Settings& s) {
  const size_t n = s.rows * s.hidden;
  const auto x = random_buffer<float>(n), gain = random_buffer<float>(s.hidden);
  Buffer<float> y(n), dgain(s.hidden);
  Buffer<bf16> half(n);
  to.measure("residual sum, in place", "1 read 1 update", n * 12,
             [&] { residual_add(y.data(), x.data(), y.data(), 1.0f, n); });
  to.measure("scaling, in place", "update", n * 8, [&] { scaled_copy(y.data(), y.data(), 0.5f, n); });
  to.measure("LayerScale forward", "copy", n * 8,
             [&] { gain_forward(y.data(), x.data(), gain.data(), s.rows, s.hidden); });
  to.measure("LayerScale backward, in place", "1 read 1 update", n * 12, [&] {
    gain_backward(y.data(), dgain.data(), y.data(), x.data(), gain.data(), s.rows, s.hidden);
  });
  to.measure("fp32 to bf16", "2 read 1 write", n * 6, [&] { convert(half.data(), x.data(), n); });
  to.measure("bf16 to fp32", "1 read 2 write", n * 6, [&] { convert(y.data(), half.data(), n); });
  to.measure("bias, in place (bf16)", "update", n * 4,
             [&] { bias_forward(half.data(), gain.data(), s.rows, s.hidden, s.hidden); });
  to.measure("bias gradient (bf16)", "read", n * 2,
             [&] { bias_backward(dgain.data(), half.data(), s.rows, s.hidden, s.hidden); });
  volatile double sum = 0;
  to.measure("sum of squares", "read", n * 4, [&] { sum = sum_squares(x.data(), n); });
  to.measure("search for NaN", "read", n * 4,
             [&] { sum = static_cast<double>(first_non_finite(x.data(), n)); });
  to.measure("clearing", "write", n * 4, [&] { y.zero(); });
}

void run(const Common& common, const Settings& s) {
  apply(common);
  json result = bench_result(peak_flops(DType::kBf16, num_threads()));
  fmt::print(
      "{}, {} threads. Bandwidth as a fraction of plain traffic of the same mix: with ordinary stores, and "
      "with "
      "the better of ordinary and non-temporal ones.\n",
      isa_name(active_isa()), num_threads());
  Comparison comparison(s, result["results"]);
  measure_norms(comparison, s);
  measure_swiglu(comparison, s);
  measure_rope(comparison, s);
  measure_adamw(comparison, s);
  measure_embedding(comparison, s);
  measure_vectors(comparison, s);
  write_result(common, result);
}

}  // namespace

void add_bench_elementwise(Command bench) {
  auto common = std::make_shared<Common>();
  auto s = std::make_shared<Settings>();
  Command c = add_command(bench, "elementwise", "Passes over memory, alone, on arrays larger than the caches",
                          "fathom bench elementwise", common);
  c.option("--rows", s->rows, "Rows: batch times sequence length").range(1, 1 << 20).shows_default();
  c.option("--hidden", s->hidden, "Columns of the stream").range(1, 1 << 14).shows_default();
  c.option("--ffn", s->ffn, "Columns of the MLP").range(1, 1 << 16).shows_default();
  c.option("--vocab", s->vocab, "Rows of the embedding").range(1, 1 << 18).shows_default();
  c.option("--samples", s->samples, "Samples of each, alternating with plain traffic")
      .range(1, 1000)
      .shows_default();
  c.runs([common, s] { run(*common, *s); });
}

}  // namespace fathom::cli
