#include "core/unfinished.h"

#include <mutex>
#include <set>
#include <system_error>

namespace fathom {
namespace {

struct Registry {
  std::mutex mutex;
  std::multiset<std::filesystem::path> paths;
};

// Never destroyed: a thread may still come here while the process ends.
Registry& registry() {
  static auto* const all = new Registry;
  return *all;
}

}  // namespace

Unfinished::Unfinished(const std::filesystem::path& path) : path_(std::filesystem::absolute(path)) {
  const std::lock_guard lock(registry().mutex);
  registry().paths.insert(path_);
}

Unfinished::~Unfinished() {
  const std::lock_guard lock(registry().mutex);
  registry().paths.erase(registry().paths.find(path_));
}

void remove_unfinished() {
  registry().mutex.lock();  // and not unlocked: whoever wants to begin another waits for the end
  for (const std::filesystem::path& path : registry().paths) {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
}

}  // namespace fathom
