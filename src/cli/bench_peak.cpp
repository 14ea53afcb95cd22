// fathom bench peak: the most that this machine does in arithmetic and in memory traffic.

#include <cstring>

#include <fmt/format.h>

#include "cli/bench.h"
#include "core/buffer.h"
#include "core/threads.h"
#include "kernels/isa.h"

namespace fathom::cli {
namespace {

using nlohmann::json;

// Beyond the caches of most servers' share of L3, and small enough for a laptop.
constexpr size_t kBytes = size_t{256} << 20;
constexpr size_t kPiece = size_t{4} << 20;
constexpr size_t kPieces = kBytes / kPiece;

// Calls fn(offset in words) for each piece, on one thread or all.
void for_pieces(bool all_threads, const std::function<void(size_t)>& fn) {
  const size_t words = kPiece / sizeof(uint64_t);
  if (all_threads) return parallel_for(kPieces, [&](size_t i) { fn(i * words); });
  for (size_t i = 0; i < kPieces; ++i) fn(i * words);
}

uint64_t sum_of(const uint64_t* words, size_t n) {
  uint64_t sum[8] = {};
  for (size_t i = 0; i < n; i += 8) {
    for (size_t j = 0; j < 8; ++j) sum[j] += words[i + j];
  }
  return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

void report(json& results, const std::string& name, double per_second, const char* key, const char* unit) {
  fmt::print("{:<28} {:>10.1f} {}\n", name, per_second / 1e9, unit);
  results.push_back({{"name", name}, {key, per_second / (std::string(key) == "tflops" ? 1e12 : 1e9)}});
}

// Bytes that go over the memory bus in each of read, write and copy (which reads and writes).
void measure_memory(json& results, bool all_threads, const std::string& suffix) {
  Buffer<uint64_t> from(kBytes / sizeof(uint64_t)), to(kBytes / sizeof(uint64_t));
  const size_t words = kPiece / sizeof(uint64_t);
  std::vector<uint64_t> sums(kPieces);
  const auto measure = [&](const char* name, double bytes, const std::function<void(size_t)>& fn) {
    const Timing t = time_calls([&] { for_pieces(all_threads, fn); });
    report(results, std::string("memory ") + name + suffix, bytes / t.median_s, "gbytes_per_second", "GB/s");
  };
  measure("read", kBytes, [&](size_t at) { sums[at / words] = sum_of(from.data() + at, words); });
  measure("write", kBytes, [&](size_t at) { std::memset(to.data() + at, 1, kPiece); });
  measure("copy", 2.0 * kBytes, [&](size_t at) { std::memcpy(to.data() + at, from.data() + at, kPiece); });
}

void run(const Common& common) {
  apply(common);
  const size_t all = num_threads();
  const double peak = peak_flops(DType::kBf16, all);
  json result = bench_result(peak);
  fmt::print("instruction set {}, {} threads\n", isa_name(active_isa()), all);
  json& results = result["results"];
  for (size_t threads : {size_t{1}, all}) {
    const std::string suffix = fmt::format(", {} thread{}", threads, threads == 1 ? "" : "s");
    report(results, "fp32" + suffix, peak_flops(DType::kF32, threads), "tflops", "GFLOP/s");
    report(results, "bf16" + suffix, threads == all ? peak : peak_flops(DType::kBf16, threads), "tflops",
           "GFLOP/s");
    measure_memory(results, threads > 1, suffix);
    if (all == 1) break;
  }
  write_result(common, result);
}

}  // namespace

void add_bench_peak(CLI::App& bench) {
  auto common = std::make_shared<Common>();
  CLI::App* command =
      add_command(bench, "peak", "Peak of fp32 and bf16 products and of memory, on one thread and on all",
                  "fathom bench peak --json peak.json", common);
  command->callback([common] { run(*common); });
}

}  // namespace fathom::cli
