#include "core/cgroup.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>

namespace fathom {
namespace {

namespace fs = std::filesystem;

// Version 1 has no word for "no limit": it says the largest multiple of a page below 2^63.
constexpr uint64_t kNoLimit = uint64_t{1} << 62;

struct Mount {
  fs::path root, point;  // the group that is mounted, and where
  bool v1 = false;
};

// "a,b" has b.
bool has_word(const std::string& words, const std::string& word) {
  return ("," + words + ",").find("," + word + ",") != std::string::npos;
}

// The kernel writes a space in a path as \040.
std::string unescaped(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    const char* digits = text.data() + i + 1;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(digits, digits + 3, code, 8).ptr == digits + 3) {
      plain += static_cast<char>(code);
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// The mounts of version 2, or of version 1's hierarchy of `controller`. A line of mountinfo: id, parent,
// device, root, mount point, options, any number of optional fields, "-", type, source, options of the file
// system (see proc_pid_mountinfo(5)).
std::vector<Mount> mounts(const fs::path& proc, bool v1, const std::string& controller) {
  std::vector<Mount> found;
  std::ifstream file(proc / "self" / "mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string id, parent, device, root, point, word, type, source, options;
    words >> id >> parent >> device >> root >> point;
    while (words >> word && word != "-") {
    }
    if (!(words >> type >> source >> options)) continue;
    if (v1 ? type == "cgroup" && has_word(options, controller) : type == "cgroup2")
      found.push_back({unescaped(root), unescaped(point), v1});
  }
  return found;
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

// `path` as it is called below `root`, or nothing where it lies elsewhere.
std::optional<fs::path> below(const fs::path& path, const fs::path& root) {
  const fs::path relative = path.lexically_relative(root);
  if (relative.empty() || *relative.begin() == "..") return {};
  for (const fs::path& part : path) {
    if (part == "..") return {};  // outside of what the process's namespace names
  }
  return relative == "." ? fs::path() : relative;
}

// The groups of a hierarchy from `group`, as /proc/self/cgroup names it, up to its mount's root.
void add_groups(std::vector<ControlGroup>& groups, const std::vector<Mount>& all, const fs::path& group) {
  if (all.empty()) return;
  const auto mount =
      std::find_if(all.begin(), all.end(), [&](const Mount& m) { return below(group, m.root).has_value(); });
  if (mount == all.end()) {
    groups.push_back({all.front().point, all.front().v1});
    return;
  }
  for (fs::path name = *below(group, mount->root); !name.empty(); name = name.parent_path()) {
    if (is_folder(mount->point / name)) groups.push_back({mount->point / name, mount->v1});
  }
  groups.push_back({mount->point, mount->v1});
}

// A word that is a number as a whole, which "max" is not.
std::optional<int64_t> number_of(const std::string& word) {
  int64_t n = 0;
  const char* end = word.data() + word.size();
  const auto [stopped, error] = std::from_chars(word.data(), end, n);
  if (word.empty() || error != std::errc() || stopped != end) return {};
  return n;
}

std::optional<uint64_t> bytes_in(const fs::path& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  const auto n = number_of(word);
  if (!n || *n < 0) return {};
  return static_cast<uint64_t>(*n);
}

// Bytes of memory.stat that the kernel can take back. What version 1 calls by these names leaves out the
// groups below, which are in its usage all the same.
uint64_t reclaimable(const ControlGroup& group) {
  std::ifstream file(group.folder / "memory.stat");
  uint64_t own = 0, total = 0;
  bool has_total = false;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key, value;
    words >> key >> value;
    const uint64_t n = static_cast<uint64_t>(std::max<int64_t>(0, number_of(value).value_or(0)));
    if (key == "inactive_file" || key == "active_file") own += n;
    if (key == "total_inactive_file" || key == "total_active_file") {
      total += n;
      has_total = true;
    }
  }
  return has_total ? total : own;
}

std::optional<double> quota_of(const ControlGroup& group) {
  std::string quota, period;
  if (group.v1) {
    std::ifstream(group.folder / "cpu.cfs_quota_us") >> quota;
    std::ifstream(group.folder / "cpu.cfs_period_us") >> period;
  } else {
    std::ifstream(group.folder / "cpu.max") >> quota >> period;
  }
  const auto q = number_of(quota), p = number_of(period);
  if (!q || !p || *q <= 0 || *p <= 0) return {};  // "max", -1: none
  return static_cast<double>(*q) / static_cast<double>(*p);
}

}  // namespace

std::vector<ControlGroup> control_groups(const std::string& controller, const fs::path& proc) {
  std::vector<ControlGroup> groups;
  std::ifstream file(proc / "self" / "cgroup");
  for (std::string line; std::getline(file, line);) {  // "4:cpu,cpuacct:/a", of version 2 "0::/a"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v1 = !controllers.empty();
    if (v1 && !has_word(controllers, controller)) continue;
    add_groups(groups, mounts(proc, v1, controller), line.substr(second + 1));
  }
  return groups;
}

std::optional<uint64_t> memory_left_in_groups(const fs::path& proc) {
  std::optional<uint64_t> least;
  for (const ControlGroup& group : control_groups("memory", proc)) {
    const auto limit = bytes_in(group.folder / (group.v1 ? "memory.limit_in_bytes" : "memory.max"));
    const auto used = bytes_in(group.folder / (group.v1 ? "memory.usage_in_bytes" : "memory.current"));
    if (!limit || !used || *limit >= kNoLimit) continue;
    const uint64_t taken = *used - std::min(*used, reclaimable(group));
    const uint64_t left = *limit - std::min(*limit, taken);
    least = std::min(least.value_or(left), left);
  }
  return least;
}

std::optional<double> cpu_quota(const fs::path& proc) {
  std::optional<double> least;
  for (const ControlGroup& group : control_groups("cpu", proc)) {
    if (const auto quota = quota_of(group)) least = std::min(least.value_or(*quota), *quota);
  }
  return least;
}

}  // namespace fathom
