#include "report/model_names.h"

#include <algorithm>
#include <set>

#include "report/format.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

size_t length(const fs::path& path) { return static_cast<size_t>(std::distance(path.begin(), path.end())); }

/// The last `components` of `path`.
std::string tail_of(const fs::path& path, size_t components) {
  std::vector<fs::path> parts(path.begin(), path.end());
  fs::path out;
  for (size_t i = parts.size() - std::min(components, parts.size()); i < parts.size(); ++i) out /= parts[i];
  return valid_utf8(out.string());
}

/// A path without "." and without a slash at its end.
fs::path plain(const fs::path& path) {
  const fs::path normal = path.lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

/// The shortest tails of `paths` by which different ones differ; two that differ only in bytes that are not
/// UTF-8 stay alike.
std::vector<std::string> short_names(const std::vector<fs::path>& paths) {
  const std::set<fs::path> different(paths.begin(), paths.end());
  size_t longest = 1, components = 1;
  for (const fs::path& path : paths) longest = std::max(longest, length(path));
  for (; components < longest; ++components) {
    std::set<std::string> tails;
    for (const fs::path& path : different) tails.insert(tail_of(path, components));
    if (tails.size() == different.size()) break;
  }
  std::vector<std::string> names;
  for (const fs::path& path : paths) names.push_back(tail_of(path, components));
  return names;
}

}  // namespace

std::string model_name(const std::string& model, const fs::path& file) {
  const std::string name = tail_of(plain(model), 1);
  return name.empty() || name == "." ? tail_of(plain(file), 1) : name;
}

void name_models(std::vector<RunRecord>& runs, std::vector<ProbeRecord>& probes) {
  std::vector<fs::path> paths;
  for (const RunRecord& run : runs) paths.push_back(fs::canonical(run.path));
  std::vector<std::string> names = short_names(paths);
  for (size_t i = 0; i < runs.size(); ++i) runs[i].name = names[i];

  paths.clear();
  for (const ProbeRecord& probe : probes)
    paths.push_back(plain(probe.model.empty() ? probe.path : fs::path(probe.model)));
  names = short_names(paths);
  std::multiset<std::string> taken(names.begin(), names.end());
  for (const RunRecord& run : runs) taken.insert(run.name);
  for (size_t i = 0; i < probes.size(); ++i) {
    probes[i].name = names[i].empty() || names[i] == "." ? model_name("", probes[i].path) : names[i];
    if (taken.count(names[i]) > 1) probes[i].name = names[i] + " (" + tail_of(probes[i].path, 1) + ")";
  }
}

}  // namespace fathom
