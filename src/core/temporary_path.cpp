#include "core/temporary_path.h"

#include <cerrno>
#include <cstring>

#include <unistd.h>

#include "core/error.h"
#include "core/file.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

fs::path partial_name(const fs::path& target) {
  return target.parent_path() /
         (target.stem().string() + ".partial-" + std::to_string(::getpid()) + target.extension().string());
}

// The first folder above that is there: those between are made.
void require_writable_above(const fs::path& path) {
  std::error_code error;
  fs::path folder = fs::absolute(path).parent_path();
  while (!fs::exists(folder, error) && folder.has_relative_path()) folder = folder.parent_path();
  if (!fs::is_directory(folder, error))
    fail({.what = "can't be made: " + folder.string() + " is no folder", .path = path.string()});
  if (::access(folder.c_str(), W_OK) != 0) {
    fail({.what = "can't be made in " + folder.string() + ": " + std::strerror(errno),
          .path = path.string(),
          .hint = "name another folder with --out"});
  }
}

}  // namespace

fs::path without_trailing_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

void refuse_taken(const fs::path& out, std::string what, std::string hint) {
  fail({.what = std::move(what), .path = out.string(), .hint = std::move(hint)});
}

void require_free(const fs::path& out) {
  const fs::path path = without_trailing_slash(out);  // "file/" would seem free
  if (!fs::exists(path)) return require_writable_above(path);
  const bool folder = fs::is_directory(path);
  if (folder && fs::is_empty(path)) return require_writable_above(path);
  refuse_taken(path, folder ? "exists already and is not empty" : "exists already",
               "give a new name with --out, or remove it first");
}

TemporaryPath::TemporaryPath(const fs::path& target)
    : TemporaryPath(without_trailing_slash(target), partial_name(without_trailing_slash(target))) {}

TemporaryPath::TemporaryPath(fs::path target, fs::path path)
    : target_(std::move(target)), path_(std::move(path)), unfinished_(path_) {
  std::error_code error;
  fs::remove_all(path_, error);
  if (error) refuse_taken(path_, "stands in the way and can't be deleted: " + error.message(), "delete it");
}

TemporaryPath::~TemporaryPath() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

void TemporaryPath::commit() {
  if (fs::is_directory(path_)) sync_folder(path_);
  std::error_code error;
  fs::rename(path_, target_, error);
  if (error) refuse_taken(target_, "can't be put in place: " + error.message(), "");
  sync_folder(target_.has_parent_path() ? target_.parent_path() : ".");
  path_.clear();
}

}  // namespace fathom
