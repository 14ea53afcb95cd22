#include "core/buffer.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>

#include <sys/mman.h>
#include <unistd.h>

namespace fathom::buffer_detail {
namespace {

std::atomic<size_t> held{0};

size_t whole(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

size_t whole_pages(size_t bytes) {
  static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return whole(bytes, page);
}

// `bytes`, a whole number of pages, on a border of huge pages: mapped with room to spare, which is given
// back.
void* map_pages(size_t bytes) {
  const size_t with_room = bytes + kHugePage;
  void* mapped = mmap(nullptr, with_room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  auto* begin = static_cast<std::byte*>(mapped);
  const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  if (before > 0) munmap(begin, before);
  munmap(begin + before + bytes, kHugePage - before);  // at least a page: `before` is below kHugePage
  madvise(begin + before, bytes, MADV_HUGEPAGE);       // where there are none, small pages do
  return begin + before;
}

}  // namespace

void* allocate_zeros(size_t bytes) {
  void* data = bytes >= kHugePage ? map_pages(whole_pages(bytes)) : std::aligned_alloc(64, whole(bytes, 64));
  if (data == nullptr) throw std::bad_alloc();
  held.fetch_add(bytes, std::memory_order_relaxed);
  return bytes >= kHugePage ? data : std::memset(data, 0, bytes);  // pages come as zeros
}

size_t held_bytes() { return held.load(std::memory_order_relaxed); }

void release(void* data, size_t bytes) {
  held.fetch_sub(bytes, std::memory_order_relaxed);
  if (bytes >= kHugePage)
    munmap(data, whole_pages(bytes));
  else
    std::free(data);
}

}  // namespace fathom::buffer_detail
