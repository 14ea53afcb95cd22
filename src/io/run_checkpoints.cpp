#include "io/run_checkpoints.h"

#include <algorithm>
#include <charconv>

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStep = "step-";

std::optional<uint64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(kStep)) return {};
  uint64_t step = 0;
  const char* end = name.data() + name.size();
  const auto [at, error] = std::from_chars(name.data() + kStep.size(), end, step);
  if (error != std::errc() || at != end) return {};
  return step;
}

}  // namespace

std::string checkpoint_name(uint64_t step) { return std::string(kStep) + std::to_string(step); }

std::vector<uint64_t> saved_steps(const fs::path& folder) {
  std::vector<uint64_t> steps;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (const auto step = step_of(entry.path())) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::optional<fs::path> last_checkpoint(const fs::path& folder) {
  if (!fs::is_directory(folder)) return {};
  const std::vector<uint64_t> steps = saved_steps(folder);
  if (steps.empty()) return {};
  return folder / checkpoint_name(steps.back());
}

}  // namespace fathom
