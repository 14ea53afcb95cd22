#pragma once
// Pieces of work of which each thread does some by itself, with memory of its own.

#include <atomic>
#include <cstddef>

#include "core/threads.h"

namespace fathom {

/// Calls fn(worker, i) for each i in [0, n) as parallel_for does; `worker`, below num_threads(), is in one
/// call at a time, so that it can tell whose workspace to use. Whoever is ready takes the next piece: cores
/// need not be equally fast.
template <class Fn>
void share_among_workers(size_t n, const Fn& fn) {
  std::atomic<size_t> next{0};
  parallel_for(num_threads(), [&](size_t worker) {
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) fn(worker, i);
  });
}

}  // namespace fathom
