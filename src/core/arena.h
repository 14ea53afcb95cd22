#pragma once
// Memory with lifetimes known in advance: one block, handed out front to back. Over no memory at all it only
// counts, so that the code which lays out a training step is also the code that forecasts its size.

#include <cstddef>

#include "core/buffer.h"
#include "core/error.h"

namespace fathom {

class Arena {
 public:
  /// Counts only: take() returns null.
  Arena() = default;
  /// Hands out parts of `bytes` bytes.
  explicit Arena(size_t bytes) : memory_(bytes) {}

  /// `n` elements, 64-byte aligned, contents undefined (zero the first time). Errors: Error where the arena
  /// was laid out smaller than it is used, which is a fault of the program.
  template <class T>
  T* take(size_t n) {
    const size_t bytes = (n * sizeof(T) + 63) / 64 * 64;
    const size_t at = used_;
    used_ += bytes;
    if (used_ > peak_) peak_ = used_;
    if (memory_.size() == 0) return nullptr;
    if (used_ > memory_.size()) fail("internal: a step takes more memory than its plan");
    return reinterpret_cast<T*>(memory_.data() + at);
  }

  /// What take() has handed out so far; release(mark) takes everything after it back.
  size_t mark() const { return used_; }
  void release(size_t mark) { used_ = mark; }
  size_t peak() const { return peak_; }

 private:
  Buffer<std::byte> memory_;
  size_t used_ = 0, peak_ = 0;
};

}  // namespace fathom
