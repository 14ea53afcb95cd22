#include "text/byte_source.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "text/text_error.h"

namespace fathom {
namespace {

constexpr size_t kChunk = size_t{256} << 10;
constexpr int kMaxWindowLog = 27;  // 128 MiB, zstd's own default limit (`zstd --long` writes it)
const char* const kCutShort = "the compressed data is cut short";
const char* const kRestore = "incomplete download or copy? fetch the file again";

class FileSource final : public ByteSource {
 public:
  explicit FileSource(const std::filesystem::path& path) : path_(path) {
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) fail_errno("open");
    struct stat st {};
    if (::fstat(fd_, &st) != 0 || S_ISDIR(st.st_mode)) {
      ::close(fd_);
      fail_in(path, "not a file");
    }
    ::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;
  ~FileSource() override { ::close(fd_); }

  size_t read(char* out, size_t n) override {
    while (true) {
      const ssize_t got = ::read(fd_, out, n);
      if (got >= 0) {
        consumed_ += static_cast<uint64_t>(got);
        return static_cast<size_t>(got);
      }
      if (errno != EINTR) fail_errno("read");
    }
  }
  uint64_t consumed() const override { return consumed_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  [[noreturn]] void fail_errno(const std::string& doing) const {
    const int error = errno;
    fail_in(path_, "cannot " + doing + ": " + std::strerror(error),
            error == EACCES   ? "check the permissions"
            : error == ENOENT ? "check the path"
                              : "");
  }

  std::filesystem::path path_;
  int fd_ = -1;
  uint64_t consumed_ = 0;
};

class GzipSource final : public ByteSource {
 public:
  explicit GzipSource(const std::filesystem::path& path) : file_(path), buffer_(kChunk) {
    // 15: the largest window; + 16: a gzip header is demanded.
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) throw std::bad_alloc();
  }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;
  ~GzipSource() override { inflateEnd(&stream_); }

  size_t read(char* out, size_t n) override {
    const size_t room = std::min<size_t>(n, std::numeric_limits<uInt>::max());
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = static_cast<uInt>(room);
    while (stream_.avail_out == room) {
      if (stream_.avail_in == 0) {
        const size_t got = file_.read(buffer_.data(), buffer_.size());
        if (got == 0 && member_ended_) return 0;
        if (got == 0) fail_in(file_.path(), kCutShort, kRestore, {}, file_.consumed());
        stream_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
        stream_.avail_in = static_cast<uInt>(got);
      }
      if (member_ended_) inflateReset(&stream_);
      const int status = inflate(&stream_, Z_NO_FLUSH);
      member_ended_ = status == Z_STREAM_END;
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
        fail_in(file_.path(), std::string("not valid gzip data: ") + (stream_.msg ? stream_.msg : "damaged"),
                kRestore, {}, file_.consumed() - stream_.avail_in);
      }
    }
    return room - stream_.avail_out;
  }
  uint64_t consumed() const override { return file_.consumed(); }

 private:
  FileSource file_;
  std::vector<char> buffer_;
  z_stream stream_{};
  bool member_ended_ = false;
};

class ZstdSource final : public ByteSource {
 public:
  explicit ZstdSource(const std::filesystem::path& path)
      : file_(path), buffer_(kChunk), context_(ZSTD_createDCtx(), ZSTD_freeDCtx) {
    if (!context_) throw std::bad_alloc();
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kMaxWindowLog);
  }

  size_t read(char* out, size_t n) override {
    ZSTD_outBuffer output{out, n, 0};
    while (output.pos == 0) {
      if (input_.pos == input_.size) {  // zstd holds the frame's last byte back until all of it is out
        const size_t got = file_.read(buffer_.data(), buffer_.size());
        if (got == 0 && frame_ended_) return 0;
        if (got == 0) fail_in(file_.path(), kCutShort, kRestore, {}, file_.consumed());
        input_ = {buffer_.data(), got, 0};
      }
      const size_t status = ZSTD_decompressStream(context_.get(), &output, &input_);
      if (ZSTD_isError(status)) {
        fail_in(file_.path(), std::string("not valid zstd data: ") + ZSTD_getErrorName(status),
                ZSTD_getErrorCode(status) == ZSTD_error_frameParameter_windowTooLarge
                    ? "compress it again with a window of at most 2^27 bytes (zstd --long=27)"
                    : kRestore,
                {}, file_.consumed() - (input_.size - input_.pos));
      }
      frame_ended_ = status == 0;
    }
    return output.pos;
  }
  uint64_t consumed() const override { return file_.consumed(); }

 private:
  FileSource file_;
  std::vector<char> buffer_;
  std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context_;
  ZSTD_inBuffer input_{nullptr, 0, 0};
  bool frame_ended_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> open_byte_source(const std::filesystem::path& path) {
  if (path.extension() == ".gz") return std::make_unique<GzipSource>(path);
  if (path.extension() == ".zst") return std::make_unique<ZstdSource>(path);
  return std::make_unique<FileSource>(path);
}

}  // namespace fathom
