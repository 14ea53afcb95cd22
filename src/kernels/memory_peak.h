#pragma once
// What this machine's memory does at most, for comparison: streams that are read, updated or written by the
// widest loads and stores, with no other work.

#include <cstddef>
#include <span>

namespace fathom {

/// A kernel's traffic as a number of streams of equal length. An updated stream is read and written back.
struct MemoryMix {
  size_t reads = 0, updates = 0, writes = 0;
  size_t streams() const { return reads + updates + writes; }
  /// Streams' lengths that cross the memory bus, not counting that an ordinary store to a line that is not in
  /// the cache reads it first.
  size_t transfers() const { return reads + 2 * updates + writes; }
};

/// How written streams are written: by ordinary stores, by non-temporal ones, or by the C library's memset,
/// which may know a way of this processor's (rep stos).
enum class StoreKind { kOrdinary, kNonTemporal, kMemset };

/// Goes over elements [begin, end) of each stream once, on the calling thread: first `reads`, then `updates`,
/// then `writes` of them. begin and end are multiples of 32, streams 64-byte aligned. Returns a sum that
/// keeps the loads alive.
float stream_memory(const MemoryMix& mix, std::span<float* const> streams, size_t begin, size_t end,
                    StoreKind stores);

}  // namespace fathom
