#include "core/cores.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <sched.h>

#include "core/cgroup.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// A name of the core that a processor is on: the list of all processors there, by its new name or its old
// one.
std::string core_of(size_t processor, const fs::path& sys) {
  const fs::path topology = sys / "devices" / "system" / "cpu" / fmt::format("cpu{}", processor) / "topology";
  for (const char* name : {"core_cpus_list", "thread_siblings_list"}) {
    std::ifstream file(topology / name);
    std::string list;
    if (file >> list) return list;
  }
  return fmt::format("{}", processor);  // alone
}

}  // namespace

size_t UsableCores::threads() const {
  if (!quota || *quota >= static_cast<double>(cores)) return cores;
  return std::max<size_t>(1, static_cast<size_t>(std::ceil(*quota)));
}

std::string UsableCores::text() const {
  std::string text = fmt::format("{} core{}", cores, cores == 1 ? "" : "s");
  if (logical != cores) text += fmt::format(" ({} hardware threads)", logical);
  if (quota) text += fmt::format(", a quota of {:.3g}", *quota);
  return text;
}

std::vector<size_t> allowed_processors() {
  std::vector<size_t> processors;
  // The kernel refuses a set that has no room for its own number of processors.
  for (size_t most = CPU_SETSIZE; most <= size_t{1} << 20; most *= 2) {
    cpu_set_t* set = CPU_ALLOC(most);
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(most);
    CPU_ZERO_S(bytes, set);
    if (::sched_getaffinity(0, bytes, set) == 0) {
      for (size_t i = 0; i < most; ++i) {
        if (CPU_ISSET_S(i, bytes, set)) processors.push_back(i);
      }
    }
    CPU_FREE(set);
    if (!processors.empty()) return processors;
  }
  for (size_t i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i) processors.push_back(i);
  return processors;
}

UsableCores count_cores(const std::vector<size_t>& processors, const fs::path& proc, const fs::path& sys) {
  std::set<std::string> cores;
  for (const size_t processor : processors) cores.insert(core_of(processor, sys));
  return {.logical = std::max<size_t>(1, processors.size()),
          .cores = std::max<size_t>(1, cores.size()),
          .quota = cpu_quota(proc)};
}

const UsableCores& usable_cores() {
  static const UsableCores cores = count_cores(allowed_processors());
  return cores;
}

}  // namespace fathom
