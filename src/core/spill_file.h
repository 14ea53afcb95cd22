#pragma once
// Memory that lies in a file: for data too large to stay, written once and read a few times.

#include <cstddef>
#include <filesystem>

namespace fathom {

/// A nameless file in `folder`, mapped for reading and writing, gone when it is destroyed or the process
/// ends, however it ends. Its place on the disk is taken at once, so that a full disk is an error here and no
/// crash later. Errors: Error (path, reason).
class SpillFile {
 public:
  SpillFile() = default;
  SpillFile(const std::filesystem::path& folder, size_t bytes);
  SpillFile(SpillFile&& other) noexcept;
  SpillFile& operator=(SpillFile&& other) noexcept;
  SpillFile(const SpillFile&) = delete;
  SpillFile& operator=(const SpillFile&) = delete;
  ~SpillFile();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  /// Gives the memory of [offset, offset + length) back to the system; the contents stay, in the file.
  void drop(size_t offset, size_t length) const;

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace fathom
