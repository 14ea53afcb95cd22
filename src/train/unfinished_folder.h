#pragma once
// A folder that has its name only when it is complete.

#include <filesystem>
#include <utility>

#include "core/file.h"
#include "core/unfinished.h"

namespace fathom {

/// A new folder under a temporary name; gone, with what is in it, unless finish() is called.
class UnfinishedFolder {
 public:
  explicit UnfinishedFolder(std::filesystem::path path) : path_(std::move(path)), unfinished_(path_) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  UnfinishedFolder(const UnfinishedFolder&) = delete;
  UnfinishedFolder& operator=(const UnfinishedFolder&) = delete;
  ~UnfinishedFolder() {
    std::error_code error;
    if (!path_.empty()) std::filesystem::remove_all(path_, error);
  }
  const std::filesystem::path& path() const { return path_; }
  /// Flushes the folder to the disk and renames it.
  void finish(const std::filesystem::path& name) {
    sync_folder(path_);
    std::filesystem::rename(path_, name);
    path_.clear();
    sync_folder(std::filesystem::absolute(name).parent_path());
  }

 private:
  std::filesystem::path path_;
  Unfinished unfinished_;
};

}  // namespace fathom
