// fathom bench: how fast this machine is, and how near to that our code comes.

#include "cli/bench.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "core/threads.h"
#include "kernels/isa.h"
#include "kernels/peak.h"

namespace fathom::cli {

double time_once(const std::function<void()>& fn) {
  const auto start = std::chrono::steady_clock::now();
  fn();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Timing time_calls(const std::function<void()>& fn, int samples, double sample_s) {
  fn();
  // Whole steps of a large model take long: without a sample to fill, none is run to see how long.
  const double once = sample_s > 0 ? time_once(fn) : 0;
  const int calls = sample_s > 0 ? std::max(1, static_cast<int>(sample_s / std::max(once, 1e-9))) : 1;
  std::vector<double> times;
  for (int s = 0; s < samples; ++s) {
    times.push_back(time_once([&] {
                      for (int c = 0; c < calls; ++c) fn();
                    }) /
                    calls);
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front(), times.back()};
}

namespace {

// Operations a second of `spin` on all of `threads` threads, in each of so many samples of 5 ms; sorted.
std::vector<double> spin_rates(double (*spin)(DType, size_t), DType compute, size_t threads, int samples) {
  constexpr size_t kSteps = 20000;
  constexpr double kSample_s = 0.005;
  const double once = time_once([&] { spin(compute, kSteps); });
  const size_t steps = std::max(kSteps, static_cast<size_t>(kSteps * kSample_s / std::max(once, 1e-6)));
  std::vector<double> rates;
  for (int sample = 0; sample < samples; ++sample) {
    std::vector<double> done(threads);
    const double elapsed =
        time_once([&] { parallel_for(threads, [&](size_t t) { done[t] = spin(compute, steps); }); });
    double sum = 0;
    for (double d : done) sum += d;
    rates.push_back(sum / elapsed);
  }
  std::sort(rates.begin(), rates.end());
  return rates;
}

}  // namespace

double peak_flops(DType compute, size_t threads, int samples) {
  return spin_rates(spin_products, compute, threads, samples).back();
}

double loaded_flops(DType compute, size_t threads) {
  const std::vector<double> rates = spin_rates(spin_loaded_products, compute, threads, 5);
  return rates[rates.size() / 2];
}

nlohmann::json bench_row(const std::string& name) {
  return {{"name", name}, {"tflops", nullptr}, {"fraction_of_peak", nullptr}, {"tokens_per_second", nullptr}};
}

nlohmann::json rate_of(const std::string& name, const Timing& t, double flop, double tokens) {
  nlohmann::json row = bench_row(name);
  row.update({{"tflops", flop / t.median_s / 1e12},
              {"best_tflops", flop / t.least_s / 1e12},
              {"tokens_per_second", tokens / t.median_s},
              {"seconds", t.median_s},
              {"spread", t.spread()}});
  return row;
}

void report_rates(nlohmann::json& result, double peak, const std::string& title,
                  const std::function<std::string(const nlohmann::json&)>& label) {
  result["peak_tflops"] = peak / 1e12;
  fmt::print("{}, {} threads: peak {:.1f} GFLOP/s, the highest of this run\n", title, num_threads(),
             peak / 1e9);
  for (nlohmann::json& r : result["results"]) {
    const double tflops = r["tflops"], fraction = tflops * 1e12 / peak;
    const double best_fraction = r["best_tflops"].get<double>() * 1e12 / peak;
    r["fraction_of_peak"] = fraction;
    r["best_fraction_of_peak"] = best_fraction;
    fmt::print("{:<52} {:>9.1f} GFLOP/s {:>4.0f}% of peak  best {:>4.0f}%  spread {:>4.0f}%\n", label(r),
               1e3 * tflops, 100 * fraction, 100 * best_fraction, 100 * r["spread"].get<double>());
  }
}

nlohmann::json bench_result(double peak) {
  return {{"isa", isa_name(active_isa())},
          {"peak_tflops", peak / 1e12},
          {"threads", num_threads()},
          {"results", nlohmann::json::array()}};
}

void add_bench(Command app) {
  const Command bench = app.add_group("bench", "Measure this machine, and our code against it",
                                      "fathom bench gemm --shapes 130m");
  add_bench_peak(bench);
  add_bench_gemm(bench);
  add_bench_attention(bench);
  add_bench_elementwise(bench);
  add_bench_train(bench);
  add_bench_forward(bench);
}

}  // namespace fathom::cli
