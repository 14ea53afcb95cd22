#include "train/machine.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>

#include "core/buffer.h"
#include "kernels/gemm.h"

namespace fathom {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::optional<uint64_t> number_in(const char* path) {
  std::ifstream file(path);
  uint64_t n = 0;
  if (!(file >> n)) return {};  // "max": no limit
  return n;
}

// The number behind `key` in a file of lines "key number ...".
std::optional<uint64_t> number_behind(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    uint64_t n = 0;
    if (words >> word >> n && word == key) return n;
  }
  return {};
}

// What the control group's limit leaves; file cache counts as free, since the kernel takes it back.
std::optional<uint64_t> left_in_group() {
  const auto limit = number_in("/sys/fs/cgroup/memory.max");
  const auto used = number_in("/sys/fs/cgroup/memory.current");
  if (!limit || !used) return {};
  const uint64_t cache = number_behind("/sys/fs/cgroup/memory.stat", "file").value_or(0);
  const uint64_t taken = *used > cache ? *used - cache : 0;
  return *limit > taken ? *limit - taken : 0;
}

template <class T>
double best_tflops(size_t n, double seconds) {
  Buffer<T> a(n * n), b(n * n), c(n * n);
  std::fill_n(a.data(), n * n, T(0.5f));
  std::fill_n(b.data(), n * n, T(0.25f));
  constexpr DType kType = dtype_of<T>();
  const double flop = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  double best = 0;
  const Clock::time_point start = Clock::now();
  do {
    const Clock::time_point begin = Clock::now();
    gemm(n, n, n, {a.data(), kType, n}, {b.data(), kType, n, true}, {c.data(), kType, n}, kType);
    best = std::max(best, flop / seconds_since(begin) * 1e-12);
  } while (seconds_since(start) < seconds);
  return best;
}

template <class T>
double measure(double seconds) {
  // The largest square of which a good number fit into the time: a small one would measure the overhead.
  size_t n = 256;
  double best = best_tflops<T>(n, 0);
  const auto product_seconds = [&](size_t size) {
    const auto s = static_cast<double>(size);
    return 2e-12 * s * s * s / best;
  };
  while (n < 2048 && product_seconds(2 * n) * 8 < seconds) {
    n *= 2;
    best = std::max(best, best_tflops<T>(n, 0));
  }
  return std::max(best, best_tflops<T>(n, seconds));
}

}  // namespace

std::optional<uint64_t> available_memory() {
  const auto kib = number_behind("/proc/meminfo", "MemAvailable:");
  const auto group = left_in_group();
  if (!kib) return group;
  return group ? std::min(*kib << 10, *group) : *kib << 10;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

double measure_peak_tflops(DType compute, double seconds) {
  return compute == DType::kBf16 ? measure<bf16>(seconds) : measure<float>(seconds);
}

}  // namespace fathom
