#pragma once
// The lines of a file, plain or compressed, one at a time, and what all text is held to.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_source.h"

namespace fathom {

inline constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

/// Errors: Error (file, line, byte) where `text`, which begins at byte `offset` of the decompressed file, is
/// not valid UTF-8.
void require_utf8(const std::filesystem::path& path, std::string_view text, uint64_t offset = 0,
                  std::optional<uint64_t> line = {});

class LineReader {
 public:
  /// Errors: open_byte_source's.
  explicit LineReader(const std::filesystem::path& path, size_t max_line_bytes = size_t{1} << 28);

  /// The next line without its line feed, or false at the end. A byte order mark at the start of the file is
  /// dropped. Errors: Error (file, line) for a line that is too long; require_utf8's; ByteSource::read's.
  bool next(std::string& line);
  uint64_t number() const { return number_; }  ///< of the last line that was read, from 1
  const std::filesystem::path& path() const { return path_; }
  /// Bytes of the file, as it lies on the disk, that were read so far.
  uint64_t consumed() const { return source_->consumed(); }

 private:
  std::filesystem::path path_;
  size_t max_line_bytes_;
  std::unique_ptr<ByteSource> source_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;  // what of the buffer is unread
  uint64_t number_ = 0, next_offset_ = 0;
};

}  // namespace fathom
