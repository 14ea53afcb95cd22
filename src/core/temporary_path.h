#pragma once
// Work that several files or a check belong to: done under a temporary name, renamed when it is right, and
// gone otherwise.

#include <filesystem>
#include <optional>
#include <string>

#include <unistd.h>

#include "core/error.h"
#include "core/file.h"
#include "core/unfinished.h"

namespace fathom {

/// "folder/" is "folder", whose neighbours are beside it and not in it.
inline std::filesystem::path without_trailing_slash(const std::filesystem::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

/// `<stem>.partial-<pid><extension>` beside `target`, a file or a folder that the user of this makes. Removed
/// with all that is in it unless it was renamed.
class TemporaryPath {
 public:
  explicit TemporaryPath(const std::filesystem::path& target)
      : target_(without_trailing_slash(target)), path_(target_) {
    path_.replace_filename(target_.stem().string() + ".partial-" + std::to_string(::getpid()) +
                           target_.extension().string());
    std::filesystem::remove_all(path_);
    unfinished_.emplace(path_);
  }
  TemporaryPath(const TemporaryPath&) = delete;
  TemporaryPath& operator=(const TemporaryPath&) = delete;
  ~TemporaryPath() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  /// Errors: Error where the target is there and no empty folder, or can't be written.
  void commit() {
    if (std::filesystem::is_directory(path_)) sync_folder(path_);
    std::error_code error;
    std::filesystem::rename(path_, target_, error);
    if (error) {
      fail({.what = "can't be put in place: " + error.message(),
            .path = target_.string(),
            .tensor = {},
            .offset = {},
            .line = {},
            .hint = {}});
    }
    sync_folder(target_.has_parent_path() ? target_.parent_path() : ".");
    path_.clear();
  }

 private:
  std::filesystem::path target_, path_;
  std::optional<Unfinished> unfinished_;
};

}  // namespace fathom
