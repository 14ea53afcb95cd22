#include "text/line_reader.h"

#include <cstring>

#include <fmt/format.h>

#include "text/text_error.h"
#include "text/utf8.h"

namespace fathom {

void require_utf8(const std::filesystem::path& path, std::string_view text, uint64_t offset,
                  std::optional<uint64_t> line) {
  const size_t bad = find_invalid_utf8(text);
  if (bad == std::string_view::npos) return;
  fail_in(path, fmt::format("invalid UTF-8 (0x{:02x})", static_cast<unsigned char>(text[bad])),
          "convert the file to UTF-8, for example with iconv", line, offset + bad);
}

LineReader::LineReader(const std::filesystem::path& path, size_t max_line_bytes)
    : path_(path),
      max_line_bytes_(max_line_bytes),
      source_(open_byte_source(path)),
      buffer_(size_t{256} << 10) {}

bool LineReader::next(std::string& line) {
  line.clear();
  ++number_;
  const uint64_t offset = next_offset_;
  bool any = false;
  for (bool ended = false; !ended;) {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = source_->read(buffer_.data(), buffer_.size());
      if (end_ == 0) break;
    }
    any = true;
    const char* const from = buffer_.data() + begin_;
    const auto* const feed = static_cast<const char*>(std::memchr(from, '\n', end_ - begin_));
    const size_t length = feed ? static_cast<size_t>(feed - from) : end_ - begin_;
    line.append(from, length);
    begin_ += length + (feed ? 1 : 0);
    next_offset_ += length + (feed ? 1 : 0);
    ended = feed != nullptr;
    if (line.size() > max_line_bytes_)
      fail_in(path_, "a line of more than " + std::to_string(max_line_bytes_) + " bytes", "split it",
              number_);
  }
  require_utf8(path_, line, offset, number_);
  if (number_ == 1 && line.starts_with(kByteOrderMark)) line.erase(0, kByteOrderMark.size());
  return any;
}

}  // namespace fathom
