#pragma once
// One process-wide pool of threads. A result has the same bits whatever their number: each sum is formed by
// one thread, in an order that sizes alone fix.

#include <cstddef>
#include <functional>

namespace fathom {

/// Sets the number of threads that parallel_for uses, the caller included; 0, as at the start, means one a
/// core that the process may use. They are started when first needed. Not to be called while a parallel_for
/// runs.
void set_num_threads(size_t n);
/// How many parallel_for uses here: inside of one, and of a SerialScope, 1, so that what is cut for the
/// threads is not cut for those that are busy elsewhere.
size_t num_threads();

/// Calls fn(i) for each i in [0, chunks), on any thread, in any order; returns when all are done. The first
/// exception thrown by fn is rethrown here. A parallel_for inside fn runs its chunks on the calling thread.
/// Errors: Error where the threads cannot be started.
/// Determinism is the caller's: chunks must not share an accumulator, and where a sum is cut by chunk borders
/// these must come from sizes alone. Borders that only tell which numbers are made together (tiles of a
/// product, heads) may follow num_threads().
void parallel_for(size_t chunks, const std::function<void(size_t)>& fn);

/// Cuts [0, n) into pieces of `grain` (the last may be short) and calls fn(begin, end) for each, as
/// parallel_for does.
void parallel_ranges(size_t n, size_t grain, const std::function<void(size_t, size_t)>& fn);

/// While it lives, parallel_for on this thread runs its chunks here, one after another: for a thread that
/// works beside the pool and must not wait for it, nor it for the thread.
class SerialScope {
 public:
  SerialScope();
  ~SerialScope();
  SerialScope(const SerialScope&) = delete;
  SerialScope& operator=(const SerialScope&) = delete;

 private:
  bool before_;
};

}  // namespace fathom
