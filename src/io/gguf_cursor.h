#pragma once
// Reads the head of a GGUF file front to back; no read goes past the end.

#include <cstring>
#include <span>
#include <string>
#include <type_traits>

#include "io/gguf.h"
#include "io/io_error.h"

namespace fathom {

class GgufCursor {
 public:
  GgufCursor(const MappedFile& file, size_t position) : file_(file), position_(position) {}

  size_t position() const { return position_; }
  size_t left() const { return file_.bytes().size() - position_; }
  /// Names what is being read in the errors that follow.
  void set_subject(std::string subject) { subject_ = std::move(subject); }

  template <class T>
  T read() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T)), sizeof(T));
    return value;
  }
  /// Errors: Error where it is longer than `limit` bytes.
  std::string read_string(uint64_t limit);
  /// Errors: Error where `count` things of at least `min_bytes` bytes each can't be left in the file. So a
  /// count is refused before anything is allocated for it.
  void check_count(uint64_t count, uint64_t min_bytes, const char* what) const;
  [[noreturn]] void bad(const std::string& what) const;

 private:
  const std::byte* take(size_t n);

  const MappedFile& file_;
  size_t position_;
  std::string subject_ = "the header";
};

/// One value of `type`, at the cursor.
GgufValue read_gguf_value(GgufCursor& in, uint32_t type);

}  // namespace fathom
