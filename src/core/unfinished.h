#pragma once
// Files and folders under temporary names, so that a process that is asked to end can take them with it: the
// destructors that would remove them do not run then.

#include <filesystem>

namespace fathom {

/// While it lives, `path` is what remove_unfinished() removes.
class Unfinished {
 public:
  explicit Unfinished(const std::filesystem::path& path);
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  ~Unfinished();

 private:
  std::filesystem::path path_;
};

/// Removes all unfinished files and folders, and lets no thread begin another: to be called on the way out.
void remove_unfinished();

}  // namespace fathom
