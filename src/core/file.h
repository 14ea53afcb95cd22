#pragma once
// Files: read by memory map, written to a temporary name, flushed to the disk and renamed, so that a reader
// sees the old file or the new one and never half of it.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/unfinished.h"

namespace fathom {

/// A read-only memory map. Errors: Error (path, reason) where the file is missing, unreadable or not a
/// regular file.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  /// Tells the kernel that [offset, offset + length), as far as there is so much, will not be read again
  /// soon, so that the pages that lie in it need not stay.
  void drop(size_t offset, size_t length) const;
  /// Tells the kernel that [offset, offset + length), as far as there is so much, will be read soon, so that
  /// it starts to.
  void prefetch(size_t offset, size_t length) const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::filesystem::path path_;
};

/// Whole text of a file. Errors: Error where it is missing, unreadable, or larger than `limit` bytes.
std::string read_text_file(const std::filesystem::path& path, size_t limit = size_t{256} << 20);

/// A file that exists under its name only after commit(): written to `<path>.tmp-<pid>`, fsynced, renamed.
/// Destroyed without commit() it leaves nothing behind. A link is followed; what is no regular file (a
/// device, a pipe) can't be replaced and is written to as it stands, from front to back only. Errors: Error
/// (a full disk is named as such).
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// Overwrites bytes already written, e.g. a header whose counts are known at the end.
  void write_at(uint64_t offset, const void* data, size_t bytes);
  uint64_t size() const { return size_; }
  void commit();

 private:
  std::filesystem::path path_, temporary_;  // temporary_: empty where `path_` itself is written to
  std::optional<Unfinished> unfinished_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

/// AtomicFile in one call.
void write_text_file(const std::filesystem::path& path, std::string_view text);

/// fsync of a folder, so that a rename in it survives a power cut.
void sync_folder(const std::filesystem::path& folder);

}  // namespace fathom
