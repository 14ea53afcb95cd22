#include "core/threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/cores.h"
#include "core/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fathom {
namespace {

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

thread_local bool inside_parallel = false;

// Workers spin briefly before they sleep: a training step issues thousands of short parallel regions, and a
// futex wake-up (some 50 us on a virtual machine) would cost more than many of them.
constexpr int kSpins = 4000;

class Pool {
  static constexpr size_t kOpen = size_t{1} << 32;

 public:
  /// Errors: Error where the system does not start so many.
  explicit Pool(size_t threads) {
    try {
      for (size_t i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::exception& e) {  // std::system_error, std::bad_alloc
      stop();
      fail("cannot start " + std::to_string(threads) + " threads: " + e.what(),
           "give fewer with --threads, or raise the limits of processes and memory (ulimit -u, ulimit -v)");
    }
  }
  ~Pool() { stop(); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  size_t size() const { return workers_.size() + 1; }

  void run(size_t chunks, const std::function<void(size_t)>& fn) {
    std::lock_guard serial(callers_);  // two user threads may not share the pool at once
    fn_ = &fn;
    chunks_ = chunks;
    error_ = nullptr;
    next_.store(0, std::memory_order_relaxed);
    region_.store(kOpen, std::memory_order_release);
    {
      std::lock_guard lock(mutex_);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    drain();
    // Every chunk has been taken. Closed, the region lets nobody in any more, so that only the workers that
    // did come in have to be waited for; one that sleeps, or that the system runs elsewhere, is not.
    region_.fetch_sub(kOpen, std::memory_order_relaxed);
    for (int spin = 0; region_.load(std::memory_order_acquire) != 0;) {
      if (++spin < kSpins)
        relax();
      else
        std::this_thread::yield();
    }
    if (error_) std::rethrow_exception(error_);
  }

 private:
  // Ends the workers that have been started, of which a constructor that fails leaves some.
  void stop() {
    {
      std::lock_guard lock(mutex_);
      stop_.store(true, std::memory_order_relaxed);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (std::thread& w : workers_) w.join();
  }

  void drain() {
    inside_parallel = true;
    for (size_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < chunks_;) {
      try {
        (*fn_)(i);
      } catch (...) {
        std::lock_guard lock(error_mutex_);
        if (!error_) error_ = std::current_exception();
      }
    }
    inside_parallel = false;
  }

  void work() {
    uint64_t seen = 0;
    while (true) {
      for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen; ++spin)
        relax();
      if (generation_.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
      }
      seen = generation_.load(std::memory_order_acquire);
      if (stop_.load(std::memory_order_relaxed)) return;
      if (!enter()) continue;
      drain();
      region_.fetch_sub(1, std::memory_order_release);
    }
  }

  // Whether a worker came into the open region: whichever that is, since what it reads was written before the
  // region opened and stays until the region is closed and all have left.
  bool enter() {
    size_t state = region_.load(std::memory_order_relaxed);
    while (state >= kOpen) {
      if (region_.compare_exchange_weak(state, state + 1, std::memory_order_acquire,
                                        std::memory_order_relaxed))
        return true;
    }
    return false;
  }

  std::vector<std::thread> workers_;
  std::mutex callers_, mutex_, error_mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<size_t> next_{0};
  std::atomic<size_t> region_{0};  ///< kOpen while chunks may be left, plus the workers inside.
  const std::function<void(size_t)>* fn_ = nullptr;
  size_t chunks_ = 0;
  std::exception_ptr error_;
  // Read, too, by a worker that is still on its way to the last region while stop() writes it.
  std::atomic<bool> stop_{false};
};

// The pool, which is made when it is first needed: with --threads 1 it never is.
class LazyPool {
 public:
  size_t size() const { return size_.load(std::memory_order_relaxed); }

  void resize(size_t n) {
    std::lock_guard lock(mutex_);
    if (size_.exchange(n, std::memory_order_relaxed) == n) return;
    made_.store(nullptr, std::memory_order_relaxed);
    pool_.reset();
  }

  Pool& get() {
    if (Pool* pool = made_.load(std::memory_order_acquire)) return *pool;
    std::lock_guard lock(mutex_);
    if (!pool_) pool_ = std::make_unique<Pool>(size());
    made_.store(pool_.get(), std::memory_order_release);
    return *pool_;
  }

 private:
  std::atomic<size_t> size_{usable_cores().threads()};
  std::mutex mutex_;
  std::unique_ptr<Pool> pool_;
  std::atomic<Pool*> made_{nullptr};
};

LazyPool& pool() {
  static LazyPool pool;
  return pool;
}

}  // namespace

void set_num_threads(size_t n) { pool().resize(n == 0 ? usable_cores().threads() : n); }

size_t num_threads() { return inside_parallel ? 1 : pool().size(); }

void parallel_for(size_t chunks, const std::function<void(size_t)>& fn) {
  if (chunks == 0) return;
  if (chunks == 1 || inside_parallel || pool().size() == 1) {
    for (size_t i = 0; i < chunks; ++i) fn(i);
    return;
  }
  pool().get().run(chunks, fn);
}

SerialScope::SerialScope() : before_(inside_parallel) { inside_parallel = true; }

SerialScope::~SerialScope() { inside_parallel = before_; }

void parallel_ranges(size_t n, size_t grain, const std::function<void(size_t, size_t)>& fn) {
  grain = std::max<size_t>(1, grain);
  parallel_for((n + grain - 1) / grain, [&](size_t i) { fn(i * grain, std::min(n, (i + 1) * grain)); });
}

}  // namespace fathom
