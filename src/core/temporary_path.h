#pragma once
// What a command makes under --out: refused before the work where the name is taken, done under a temporary
// name where several files or a check belong to it, renamed when it is right, and gone otherwise.

#include <filesystem>
#include <optional>
#include <string>

#include "core/unfinished.h"

namespace fathom {

/// "folder/" is "folder", whose neighbours are beside it and not in it.
std::filesystem::path without_trailing_slash(const std::filesystem::path& path);

/// Refuses an output because of what is there: nothing is written over. One rule for all commands, exit code
/// 1: the same command line is right on another day, so that it is no bad usage. Errors: Error, always.
[[noreturn]] void refuse_taken(const std::filesystem::path& out, std::string what, std::string hint);

/// To be called before the work, so that this is not lost to what is known already. Errors: those of
/// refuse_taken where `out` is there and no empty folder; Error where nothing can be made in the folder that
/// it will stand in, or in the first one above it that is there.
void require_free(const std::filesystem::path& out);

/// `<stem>.partial-<pid><extension>` beside `target`, a file or a folder that the user of this makes. Removed
/// with all that is in it unless it was renamed.
class TemporaryPath {
 public:
  explicit TemporaryPath(const std::filesystem::path& target);
  /// Under a name of the caller's, which a later process knows again.
  TemporaryPath(std::filesystem::path target, std::filesystem::path path);
  TemporaryPath(const TemporaryPath&) = delete;
  TemporaryPath& operator=(const TemporaryPath&) = delete;
  ~TemporaryPath();
  const std::filesystem::path& path() const { return path_; }
  /// Errors: Error where the target is there and no empty folder, or can't be written.
  void commit();

 private:
  std::filesystem::path target_, path_;
  Unfinished unfinished_;
};

}  // namespace fathom
