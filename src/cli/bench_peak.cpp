// fathom bench peak: the most that this machine does in arithmetic and in memory traffic.

#include <fmt/format.h>

#include "cli/bench.h"
#include "cli/bench_memory.h"
#include "core/cores.h"
#include "core/threads.h"
#include "kernels/isa.h"

namespace fathom::cli {
namespace {

using nlohmann::json;

void report(json& results, const std::string& name, double per_second, const char* key, const char* unit) {
  fmt::print("{:<64} {:>10.1f} {}\n", name, per_second / 1e9, unit);
  json row = bench_row(name);
  row[key] = per_second / (std::string(key) == "tflops" ? 1e12 : 1e9);
  results.push_back(row);
}

const char* name_of(StoreKind stores) {
  switch (stores) {
    case StoreKind::kOrdinary:
      return "";
    case StoreKind::kNonTemporal:
      return ", non-temporal stores";
    case StoreKind::kMemset:
      return ", memset";
  }
  return "";
}

// Bytes that go over the memory bus in each mix of reads and writes. An ordinary store to a line that is not
// in the cache reads the line first; that read is not counted, which is why non-temporal stores show more.
void measure_memory(json& results, bool all_threads, const std::string& suffix) {
  for (const NamedMix& m : memory_mixes()) {
    MemoryTraffic traffic(m.mix);
    for (StoreKind stores : traffic.store_kinds()) {
      const Timing t = time_calls([&] { traffic.pass(stores, all_threads); });
      report(results, fmt::format("memory {}{}{}", m.name, name_of(stores), suffix),
             traffic.bytes() / t.median_s, "gbytes_per_second", "GB/s");
    }
  }
}

void run(const Common& common) {
  apply(common);
  const size_t all = num_threads();
  const double peak = peak_flops(DType::kBf16, all);
  json result = bench_result(peak);
  fmt::print("instruction set {}, {} threads on {}\n", isa_name(active_isa()), all, usable_cores().text());
  json& results = result["results"];
  for (size_t threads : {size_t{1}, all}) {
    const std::string suffix = fmt::format(", {} thread{}", threads, threads == 1 ? "" : "s");
    report(results, "fp32" + suffix, peak_flops(DType::kF32, threads), "tflops", "GFLOP/s");
    report(results, "bf16" + suffix, threads == all ? peak : peak_flops(DType::kBf16, threads), "tflops",
           "GFLOP/s");
    report(results, "bf16, operands from L1" + suffix, loaded_flops(DType::kBf16, threads), "tflops",
           "GFLOP/s");
    measure_memory(results, threads > 1, suffix);
    if (all == 1) break;
  }
  write_result(common, result);
}

}  // namespace

void add_bench_peak(Command bench) {
  auto common = std::make_shared<Common>();
  Command command =
      add_command(bench, "peak", "Peak of fp32 and bf16 products and of memory, on one thread and on all",
                  "fathom bench peak --json peak.json", common);
  command.runs([common] { run(*common); });
}

}  // namespace fathom::cli
