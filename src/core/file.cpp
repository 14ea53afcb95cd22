#include "core/file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"

namespace fathom {
namespace {

[[noreturn]] void fail_errno(const std::string& doing, const std::filesystem::path& path, int error) {
  std::string hint;
  if (error == ENOSPC || error == EDQUOT) hint = "the disk is full: free some space, then run it again";
  if (error == ENOENT) hint = "check the path";
  if (error == EACCES || error == EPERM) hint = "check the permissions";
  fail({.what = "cannot " + doing + ": " + std::strerror(error), .path = path.string(), .hint = hint});
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_errno("open", path, errno);
  struct stat st {};
  if (::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    ::close(fd);
    fail({.what = "not a regular file", .path = path.string()});
  }
  size_ = static_cast<size_t>(st.st_size);
  if (size_ > 0) {
    void* p = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    const int error = errno;
    ::close(fd);
    if (p == MAP_FAILED) fail_errno("map", path, error);
    data_ = static_cast<const std::byte*>(p);
  } else {
    ::close(fd);
  }
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::drop(size_t offset, size_t length) const {
  if (offset >= size_) return;
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const auto whole = [page](size_t n) { return (n + page - 1) / page * page; };
  // Whole pages of the range: a part of one is still somebody's. But for the last, which ends with the file.
  const bool to_the_end = length >= size_ - offset;
  const size_t begin = whole(offset), end = to_the_end ? whole(size_) : (offset + length) / page * page;
  if (begin < end) ::madvise(const_cast<std::byte*>(data_ + begin), end - begin, MADV_DONTNEED);
}

void MappedFile::prefetch(size_t offset, size_t length) const {
  if (offset >= size_ || length == 0) return;
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t begin = offset / page * page;
  const size_t end = length < size_ - offset ? offset + length : size_;
  ::madvise(const_cast<std::byte*>(data_ + begin), end - begin, MADV_WILLNEED);
}

std::string read_text_file(const std::filesystem::path& path, size_t limit) {
  const MappedFile file(path);
  if (file.bytes().size() > limit) {
    fail({.what = "is " + std::to_string(file.bytes().size()) + " bytes long, more than the " +
                  std::to_string(limit) + " that such a file may have",
          .path = path.string(),
          .hint = "is it the right file?"});
  }
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code error;
  const std::filesystem::file_type type = std::filesystem::status(path_, error).type();
  using enum std::filesystem::file_type;
  if (type == character || type == block || type == fifo || type == socket) {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd_ < 0) fail_errno("open", path_, errno);
    return;
  }
  if (type == directory) fail_errno("write", path_, EISDIR);
  if (std::filesystem::is_symlink(path_, error) && type == regular) path_ = std::filesystem::canonical(path_);
  temporary_ = path_;
  temporary_ += ".tmp-" + std::to_string(::getpid());
  unfinished_.emplace(temporary_);
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_errno("create", path_, errno);
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t bytes) {
  write_at(size_, data, bytes);
  size_ += bytes;
}

void AtomicFile::write_at(uint64_t offset, const void* data, size_t bytes) {
  if (temporary_.empty() && offset != size_) {
    fail({.what = "is no regular file, and this form is not written from front to back",
          .path = path_.string(),
          .hint = "give the name of a file"});
  }
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n =
        temporary_.empty() ? ::write(fd_, p, bytes) : ::pwrite(fd_, p, bytes, static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      fail_errno("write", path_, errno);
    }
    p += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<size_t>(n);
  }
}

void AtomicFile::commit() {
  if (temporary_.empty()) {
    if (::close(std::exchange(fd_, -1)) != 0) fail_errno("write", path_, errno);
    return;
  }
  if (::fsync(fd_) != 0) fail_errno("flush", path_, errno);
  const int closed = ::close(std::exchange(fd_, -1));
  if (closed != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary_.c_str());
    fail_errno("rename into place", path_, error);
  }
  sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

void write_text_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // Some file systems refuse to open a folder; the rename itself has been done.
  ::fsync(fd);
  ::close(fd);
}

}  // namespace fathom
