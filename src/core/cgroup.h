#pragma once
// What the control groups of this process (Linux, versions 1 and 2) leave it: whoever runs it may have given
// it less than the machine has (systemd, SLURM, Docker, Kubernetes).
//
// A group's limit covers the groups below it, so that all of them count, from the process's own to the
// uppermost that can be seen. `proc` is where /proc is; a mount point is what the files there call it.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace fathom {

struct ControlGroup {
  std::filesystem::path folder;
  bool v1 = false;  ///< whose files have other names

  bool operator==(const ControlGroup&) const = default;
};

/// The groups of `controller` ("memory", "cpu") that the process is in, in each hierarchy from its own group
/// to the mount's root. Where its group can't be seen, as in a container that has the host's names, those
/// above it that can, at least the mount's root. Empty where there are none.
std::vector<ControlGroup> control_groups(const std::string& controller,
                                         const std::filesystem::path& proc = "/proc");

/// Bytes that the process can still take under the tightest limit; nothing where there is no limit. Pages of
/// files count as free, since the kernel takes them back; those of tmpfs and of shared memory do not.
std::optional<uint64_t> memory_left_in_groups(const std::filesystem::path& proc = "/proc");

/// How many processors' time the process may take under the tightest quota, such as 1.5; nothing where there
/// is no quota.
std::optional<double> cpu_quota(const std::filesystem::path& proc = "/proc");

}  // namespace fathom
