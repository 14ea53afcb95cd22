#pragma once
// Where golden directories are: those committed with the tests, and the shared ones where they are present.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace fathom {

/// The folder that FATHOM_SHARED names, or ../shared beside the checkout; empty where there is none.
inline std::filesystem::path shared_folder() {
  namespace fs = std::filesystem;
  const char* named = std::getenv("FATHOM_SHARED");
  const fs::path folder = named != nullptr ? fs::path(named) : fs::path(FATHOM_SOURCE_DIR) / ".." / "shared";
  return fs::is_directory(folder) ? folder : fs::path();
}

/// The golden directories under `parent`, in order of their names; none where it is missing.
inline std::vector<std::string> golden_names(const std::filesystem::path& parent) {
  std::vector<std::string> names;
  if (!std::filesystem::is_directory(parent)) return names;
  for (const auto& entry : std::filesystem::directory_iterator(parent)) {
    if (std::filesystem::exists(entry.path() / "expected.json"))
      names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

inline std::filesystem::path own_goldens() {
  return std::filesystem::path(FATHOM_TEST_DATA) / "golden" / "data";
}

}  // namespace fathom
