#pragma once
// What a run has scored so far, in a file beside its result, so that a run that was cut off goes on.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace fathom {

/// Log-likelihoods of each task's items, in order; each item's choices in order.
class PartialResults {
 public:
  /// Reads `path` where it exists; nothing is kept without a path. `fingerprint` stands for all that the
  /// numbers depend on. Errors: Error where the file is another run's or no such file.
  PartialResults(std::filesystem::path path, const std::string& fingerprint);

  /// The items of `task` that are done: to be read, and appended to.
  std::vector<std::vector<double>>& of(const std::string& task) { return tasks_[task]; }
  size_t items() const;

  /// Writes the file if the last time was long ago, or never mind when. Errors: Error where it can't.
  void save_if_due();
  void save();
  /// Takes the file away: the result stands in its own.
  void remove();

 private:
  std::filesystem::path path_;
  std::string fingerprint_;
  std::map<std::string, std::vector<std::vector<double>>> tasks_;
  std::chrono::steady_clock::time_point saved_ = std::chrono::steady_clock::now();
};

}  // namespace fathom
