#include "text/line_reader.h"

#include <cstring>

#include "text/text_error.h"
#include "text/utf8.h"

namespace fathom {

LineReader::LineReader(const std::filesystem::path& path, size_t max_line_bytes)
    : path_(path),
      max_line_bytes_(max_line_bytes),
      source_(open_byte_source(path)),
      buffer_(size_t{256} << 10) {}

bool LineReader::next(std::string& line) {
  line.clear();
  ++number_;
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
    ended = feed != nullptr;
    if (line.size() > max_line_bytes_)
      fail_in(path_, "a line of more than " + std::to_string(max_line_bytes_) + " bytes", "split it",
              number_);
  }
  if (const size_t bad = find_invalid_utf8(line); bad != std::string::npos)
    fail_in(path_, "the line is not valid UTF-8 from its byte " + std::to_string(bad) + " on",
            "convert the file to UTF-8, for example with iconv", number_);
  if (number_ == 1 && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
  return any;
}

}  // namespace fathom
