#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/buffer.h"
#include "core/error.h"
#include "core/file.h"
#include "core/fnv.h"
#include "core/rng.h"
#include "core/threads.h"
#include "core/types.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

TEST(Bf16, RoundsToNearestEvenAndKeepsNan) {
  EXPECT_EQ(bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(bf16(1.0f + 0x1p-8f).bits, 0x3f80);            // tie, even below
  EXPECT_EQ(bf16(1.0f + 0x1p-7f + 0x1p-8f).bits, 0x3f82);  // tie, even above
  EXPECT_EQ(bf16(1.0f + 0x1p-8f + 0x1p-20f).bits, 0x3f81);
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isinf(static_cast<float>(bf16(std::numeric_limits<float>::max()))));
}

TEST(Error, BuildsOneLineFromItsFields) {
  const Error e(ErrorCode::kFailed, {.what = "needs 9 bytes\nhas 8",
                                     .path = "a.safetensors",
                                     .tensor = "w",
                                     .offset = 16,
                                     .hint = "incomplete download?"});
  EXPECT_STREQ(e.what(), "a.safetensors: tensor 'w' at byte 16: needs 9 bytes has 8; incomplete download?");
}

TEST(Error, SuggestsTheNearestName) {
  EXPECT_EQ(nearest("lsn", {"pre", "lns", "post"}), "lns");
  EXPECT_EQ(nearest("sandwhich", {"pre", "sandwich"}), "sandwich");
  EXPECT_EQ(nearest("zzzzzz", {"pre", "lns"}), "");
}

// Fingerprints of runs and the streams of initial weights hang on it. The values are those of its authors.
TEST(Fnv1a, IsTheFunctionOfItsAuthors) {
  EXPECT_EQ(fnv1a(""), 0xcbf29ce484222325ull);
  EXPECT_EQ(fnv1a("a"), 0xaf63dc4c8601ec8cull);
  EXPECT_EQ(fnv1a("foobar"), 0x85944171f73967e8ull);
  EXPECT_EQ(fnv1a("\xff"), 0xaf64724c8602eb6eull) << "bytes count as unsigned";
}

TEST(Threads, EveryChunkRunsOnceAndExceptionsArrive) {
  for (size_t threads : {1u, 2u, 5u}) {
    set_num_threads(threads);
    std::vector<std::atomic<int>> hits(1000);
    parallel_for(hits.size(), [&](size_t i) { hits[i]++; });
    for (const auto& h : hits) EXPECT_EQ(h.load(), 1);
    EXPECT_THROW(parallel_for(10,
                              [](size_t i) {
                                if (i == 7) fail("seven");
                              }),
                 Error);
    std::atomic<int> nested{0};
    parallel_for(4, [&](size_t) { parallel_for(5, [&](size_t) { nested++; }); });
    EXPECT_EQ(nested.load(), 20);
  }
  set_num_threads(0);
}

TEST(Threads, RegionsThatEndBeforeAllWorkersHaveSeenThemStayApart) {
  // Far more workers than cores: most see a region only when it and many later ones are over. Each region's
  // state lives on the stack, so that a worker that came too late would write into the next one's.
  set_num_threads(24);
  for (size_t region = 0; region < 20000; ++region) {
    const size_t chunks = 2 + region % 3;
    std::atomic<size_t> sum{0}, calls{0};
    parallel_for(chunks, [&, region](size_t i) {
      sum += region + i;
      calls++;
    });
    ASSERT_EQ(calls.load(), chunks) << region;
    ASSERT_EQ(sum.load(), chunks * region + chunks * (chunks - 1) / 2) << region;
  }
  set_num_threads(0);
}

TEST(Threads, WaitsForEveryChunkThatAWorkerTook) {
  set_num_threads(3);
  for (int region = 0; region < 50; ++region) {
    std::atomic<int> done{0};
    parallel_for(3, [&](size_t i) {
      // The last chunk ends long after the others, on whichever thread took it.
      if (i == 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      done++;
    });
    ASSERT_EQ(done.load(), 3);
  }
  set_num_threads(0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // whose own memory is beyond any limit
TEST(Threads, ThatCannotBeStartedAreAnError) {
  set_num_threads(1);  // whose stacks are gone, but for those that the C library keeps (40 MiB)
  std::ifstream statm("/proc/self/statm");
  size_t pages = 0;
  ASSERT_TRUE(statm >> pages);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  rlimit low = before;
  low.rlim_cur = pages * static_cast<size_t>(::sysconf(_SC_PAGESIZE)) + (size_t{64} << 20);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &low), 0);
  set_num_threads(500);
  EXPECT_ERROR(parallel_for(2, [](size_t) {}), ErrorCode::kFailed, "cannot start 500 threads", "--threads");
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  set_num_threads(2);
  std::atomic<int> done{0};
  parallel_for(5, [&](size_t) { done++; });
  EXPECT_EQ(done.load(), 5);
  set_num_threads(0);
}
#endif

size_t threads_of_process() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

TEST(Threads, AreStartedWhenTheyAreNeeded) {
  set_num_threads(1);
  const size_t alone = threads_of_process();
  set_num_threads(5);
  EXPECT_EQ(num_threads(), 5u);
  EXPECT_EQ(threads_of_process(), alone);
  parallel_for(1, [](size_t) {});
  EXPECT_EQ(threads_of_process(), alone);
  parallel_for(2, [](size_t) {});
  EXPECT_EQ(threads_of_process(), alone + 4);
  set_num_threads(0);
}

TEST(Threads, InASerialScopeRunOnTheirCaller) {
  set_num_threads(3);
  const auto run = [] {  // the chunks in the order in which they ran, where all ran here
    std::vector<size_t> order;
    const auto here = std::this_thread::get_id();
    parallel_for(40, [&](size_t i) {
      if (std::this_thread::get_id() == here) order.push_back(i);
    });
    return order;
  };
  std::vector<size_t> all(40);
  std::iota(all.begin(), all.end(), size_t{0});
  {
    const SerialScope outer;
    EXPECT_EQ(run(), all);
    { const SerialScope inner; }
    EXPECT_EQ(run(), all);  // what ends is the inner one
  }
  // After it others take part again: two chunks that wait for one another would never end on one thread.
  std::atomic<int> arrived{0};
  parallel_for(2, [&](size_t) {
    arrived++;
    while (arrived.load() < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived.load(), 2);
  set_num_threads(0);
}

TEST(Buffer, GrowsWhereItMustAndKeepsWhatItHas) {
  Buffer<int> buffer;
  int* const first = ensure(buffer, 10);
  EXPECT_EQ(buffer.size(), 10u);
  first[3] = 7;
  EXPECT_EQ(ensure(buffer, 4), first);
  EXPECT_EQ(ensure(buffer, 10), first);
  EXPECT_EQ(buffer[3], 7);
  int* const second = ensure(buffer, 11);
  EXPECT_EQ(second, buffer.data());
  EXPECT_EQ(buffer.size(), 11u);
  EXPECT_EQ(std::count(second, second + 11, 0), 11);
}

TEST(Arena, RefusesMoreThanItsPlan) {
  Arena plan;
  EXPECT_EQ(plan.take<float>(17), nullptr);
  EXPECT_EQ(plan.peak(), 128u);  // whole cache lines
  Arena arena(plan.peak());
  const size_t mark = arena.mark();
  float* first = arena.take<float>(17);
  ASSERT_NE(first, nullptr);
  EXPECT_ERROR(arena.take<float>(1), ErrorCode::kFailed, "more memory than its plan");
  arena.release(mark);
  EXPECT_EQ(arena.take<float>(32), first);
}

TEST(Rng, IsAFunctionOfSeedStreamAndCounter) {
  Rng a(1, 2), b(1, 2), c(1, 3);
  std::vector<uint64_t> first;
  for (int i = 0; i < 10; ++i) first.push_back(a.next());
  b.set_counter(9);
  EXPECT_EQ(b.next(), first[9]);
  EXPECT_NE(c.next(), first[0]);
  Rng n(7);
  double sum = 0, squares = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = n.normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.02);
  EXPECT_NEAR(squares / kDraws, 1.0, 0.03);
}

TEST(AtomicFile, LeavesNothingBehindWithoutCommit) {
  const test::TempFolder folder;
  {
    AtomicFile f(folder / "x");
    f.write("half");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  write_text_file(folder / "x", "whole");
  EXPECT_EQ(read_text_file(folder / "x"), "whole");
  EXPECT_THROW(read_text_file(folder / "none"), Error);
  EXPECT_THROW(read_text_file(folder.path()), Error);
  EXPECT_THROW(read_text_file(folder / "x", 3), Error);
}

TEST(AtomicFile, NamesAFullDisk) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const test::TempFolder folder;
  std::filesystem::create_symlink("/dev/full",
                                  folder / ("x.tmp-" + std::to_string(::getpid())));  // where it is written
  EXPECT_ERROR(write_text_file(folder / "x", "whole"), ErrorCode::kFailed, (folder / "x").c_str(),
               "the disk is full");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(AtomicFile, NamesAFolderThatIsNone) {
  const test::TempFolder folder;
  write_text_file(folder / "file", "whole");
  EXPECT_ERROR(AtomicFile(folder / "file/x"), ErrorCode::kFailed, (folder / "file/x").c_str(),
               "Not a directory");
}

}  // namespace
}  // namespace fathom
