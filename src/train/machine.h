#pragma once
// What the machine at hand has: memory left, its processor's name, its measured speed in matrix products.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "core/types.h"

namespace fathom {

/// Bytes that a process can still take: MemAvailable of meminfo, or what is left under the tightest limit of
/// its control groups (core/cgroup.h) where that is less. Nothing where neither is readable.
std::optional<uint64_t> available_memory(const std::filesystem::path& proc = "/proc");

/// Bytes of memory that this process holds now, and the most that it has held (VmRSS, VmHWM of
/// /proc/self/status; pages of mapped files count). 0 where that is not readable.
uint64_t resident_memory();
uint64_t peak_resident_memory();

/// The model name of /proc/cpuinfo, or "unknown".
std::string cpu_name();

/// TFLOP/s that all threads together reach in products that never leave the registers, of the widest kind
/// that gemm would use for `compute`: the best of the samples that fit into `seconds`. What mfu is a share
/// of, and what `fathom bench` calls the peak.
double measure_peak_tflops(DType compute, double seconds);

}  // namespace fathom
