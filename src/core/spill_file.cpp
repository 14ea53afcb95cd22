#include "core/spill_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/error.h"
#include "core/format.h"

namespace fathom {
namespace {

[[noreturn]] void fail_spill(const std::filesystem::path& folder, const std::string& what, int error) {
  fail({.what = what + ": " + std::strerror(error),
        .path = folder.string(),
        .hint = error == ENOSPC ? "the disk is full: name another folder, or take fewer tokens"
                                : "name a folder that exists and can be written to"});
}

// A file without a name, by O_TMPFILE or, where the file system has none, by unlinking a fresh one.
int open_nameless(const std::filesystem::path& folder) {
  int fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return fd;
  std::string name = (folder / "fathom-spill-XXXXXX").string();
  std::vector<char> text(name.c_str(), name.c_str() + name.size() + 1);
  fd = ::mkstemp(text.data());
  if (fd >= 0) ::unlink(text.data());
  return fd;
}

}  // namespace

SpillFile::SpillFile(const std::filesystem::path& folder, size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  const int fd = open_nameless(folder);
  if (fd < 0) fail_spill(folder, "cannot make a file there", errno);
  const int full = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  void* mapped = full == 0 ? ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
  const int error = full != 0 ? full : errno;
  ::close(fd);
  if (mapped == MAP_FAILED)
    fail_spill(folder, "cannot hold " + bytes_text(static_cast<double>(bytes)), error);
  data_ = static_cast<std::byte*>(mapped);
}

SpillFile::SpillFile(SpillFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SpillFile& SpillFile::operator=(SpillFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

SpillFile::~SpillFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

void SpillFile::drop(size_t offset, size_t length) const {
  if (data_ == nullptr || offset >= size_) return;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  // Whole pages around the range: what is dropped comes back from the file when it is touched.
  const size_t begin = offset / page * page, end = std::min(size_, offset + length);
  ::madvise(data_ + begin, end - begin, MADV_DONTNEED);
}

}  // namespace fathom
