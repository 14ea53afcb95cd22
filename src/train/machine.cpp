#include "train/machine.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <numeric>
#include <sstream>
#include <utility>
#include <vector>

#include "core/cgroup.h"
#include "core/threads.h"
#include "kernels/peak.h"

namespace fathom {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The number behind `key` in a file of lines "key number ...".
std::optional<uint64_t> number_behind(const std::filesystem::path& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    uint64_t n = 0;
    if (words >> word >> n && word == key) return n;
  }
  return {};
}

}  // namespace

std::optional<uint64_t> available_memory(const std::filesystem::path& proc) {
  const auto kib = number_behind(proc / "meminfo", "MemAvailable:");
  const auto groups = memory_left_in_groups(proc);
  if (!kib) return groups;
  return groups ? std::min(*kib << 10, *groups) : *kib << 10;
}

uint64_t resident_memory() { return number_behind("/proc/self/status", "VmRSS:").value_or(0) << 10; }

uint64_t peak_resident_memory() { return number_behind("/proc/self/status", "VmHWM:").value_or(0) << 10; }

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

double measure_peak_tflops(DType compute, double seconds) {
  constexpr size_t kSteps = 20000;
  constexpr double kSample_s = 0.005;  // long enough that handing work to the threads does not count
  const size_t threads = num_threads();
  const auto sample = [&](size_t steps) {
    std::vector<double> done(threads);
    const Clock::time_point begin = Clock::now();
    parallel_for(threads, [&](size_t t) { done[t] = spin_products(compute, steps); });
    const double elapsed = seconds_since(begin);
    return std::pair{elapsed, std::accumulate(done.begin(), done.end(), 0.0) / elapsed * 1e-12};
  };
  const double once = std::max(sample(kSteps).first, 1e-6);
  const auto steps = std::max(kSteps, static_cast<size_t>(kSteps * kSample_s / once));
  double best = 0;
  const Clock::time_point start = Clock::now();
  do best = std::max(best, sample(steps).second);
  while (seconds_since(start) < seconds);
  return best;
}

}  // namespace fathom
