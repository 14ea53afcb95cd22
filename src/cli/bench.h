#pragma once
// What the benchmarks share: timing, the machine's peak, the shape of their results.

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "core/types.h"

namespace fathom::cli {

/// Each adds one subcommand below `bench`.
void add_bench_peak(Command bench);
void add_bench_gemm(Command bench);
void add_bench_attention(Command bench);
void add_bench_elementwise(Command bench);
void add_bench_train(Command bench);
void add_bench_forward(Command bench);

/// Seconds that one call takes: median, least and largest of the samples.
struct Timing {
  double median_s, least_s, largest_s;
  /// (largest - least) / median: how far other load disturbed the measurement.
  double spread() const { return (largest_s - least_s) / median_s; }
};

/// Seconds of one call.
double time_once(const std::function<void()>& fn);

/// Times `fn` after one call that is not counted. Short calls are repeated, so that a sample takes
/// `sample_s` seconds or one call.
Timing time_calls(const std::function<void()>& fn, int samples = 5, double sample_s = 0.02);

/// Operations a second of products on registers alone (kernels/peak.h), on `threads` threads of the pool; the
/// best of `samples` of 5 ms, since other load can only lower it. On a shared machine even that may be low
/// for seconds: where a run takes longer, ask again on the way and take the highest.
double peak_flops(DType compute, size_t threads, int samples = 40);

/// The same with operands from the first-level cache; the median of 5 samples of 5 ms, to be taken close to
/// what it is compared with: on a shared machine this moves from second to second.
double loaded_flops(DType compute, size_t threads);

/// An entry of "results" with what all entries have, null where nothing is said of it: {"name", "tflops",
/// "fraction_of_peak", "tokens_per_second"}.
nlohmann::json bench_row(const std::string& name);

/// An entry of "results": bench_row and {"best_tflops", "seconds", "spread"}.
/// report_rates() adds the fractions, once the run has seen its highest peak.
nlohmann::json rate_of(const std::string& name, const Timing& timing, double flop, double tokens);

/// At the end of a run: prints a line a result under `title`, and adds "fraction_of_peak" and
/// "best_fraction_of_peak", all of `peak`, the highest that the run saw. `label` is what a line calls a
/// result.
void report_rates(nlohmann::json& result, double peak, const std::string& title,
                  const std::function<std::string(const nlohmann::json&)>& label);

/// The result's frame: {"isa", "peak_tflops", "threads", "results": []}.
nlohmann::json bench_result(double peak);

}  // namespace fathom::cli
