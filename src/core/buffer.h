#pragma once
// Owning, cache-line-aligned storage; contents are zero after construction.

#include <cstddef>
#include <cstring>
#include <limits>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace fathom {

namespace buffer_detail {
constexpr size_t kHugePage = size_t{2} << 20;
void* allocate_zeros(size_t bytes);
void release(void* data, size_t bytes);
/// What all buffers hold together, for tests of forecasts.
size_t held_bytes();
}  // namespace buffer_detail

/// A fixed-size array of a trivial type, 64-byte aligned. From 2 MiB up it is mapped from the system, aligned
/// to 2 MiB with huge pages advised, and takes memory only where it is touched: the system hands out zeros
/// then, so that nothing is written twice. Errors: std::bad_alloc.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  explicit Buffer(size_t size) : size_(size) {
    if (size == 0) return;
    constexpr size_t kSpare = 2 * buffer_detail::kHugePage;  // for alignment
    if (size > (std::numeric_limits<size_t>::max() - kSpare) / sizeof(T)) throw std::bad_alloc();
    data_ = static_cast<T*>(buffer_detail::allocate_zeros(size * sizeof(T)));
  }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { buffer_detail::release(data_, size_ * sizeof(T)); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  std::span<T> span() { return {data_, size_}; }
  std::span<const T> span() const { return {data_, size_}; }
  void zero() {
    if (size_ > 0) std::memset(static_cast<void*>(data_), 0, size_ * sizeof(T));
  }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

/// Memory for `size` elements at least: the buffer's own where it has as much, else new (zeros; what was in
/// it is gone). For scratch that is kept from call to call, since fresh memory is cleared each time.
template <class T>
T* ensure(Buffer<T>& buffer, size_t size) {
  if (buffer.size() < size) buffer = Buffer<T>(size);
  return buffer.data();
}

}  // namespace fathom
