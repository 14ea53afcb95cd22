#pragma once
// How many threads this process should use: one for each core that it may run on, and no more than the
// processor time that it is allowed.

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace fathom {

struct UsableCores {
  size_t logical = 1;           ///< processors that the process may run on, as the kernel counts them
  size_t cores = 1;             ///< cores that these are on: two hardware threads of a core are one
  std::optional<double> quota;  ///< how many processors' time the control groups allow (core/cgroup.h)

  /// One a core, but no more than the quota, rounded up.
  size_t threads() const;
  /// "4 cores (8 hardware threads), a quota of 2.5": what is the same as `cores`, or absent, is left out.
  std::string text() const;
};

/// The numbers of the processors that the calling thread may run on; at least one.
std::vector<size_t> allowed_processors();

/// Of these processors. Where the kernel does not say which share a core, each counts as one. `proc` and
/// `sys` are where /proc and /sys are.
UsableCores count_cores(const std::vector<size_t>& processors, const std::filesystem::path& proc = "/proc",
                        const std::filesystem::path& sys = "/sys");

/// Of this process, as it was first asked for.
const UsableCores& usable_cores();

}  // namespace fathom
