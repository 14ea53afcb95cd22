#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "core/buffer.h"
#include "core/error.h"
#include "core/file.h"
#include "core/rng.h"
#include "core/threads.h"
#include "core/types.h"

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
                                     .line = {},
                                     .hint = "incomplete download?"});
  EXPECT_STREQ(e.what(), "a.safetensors: tensor 'w' at byte 16: needs 9 bytes has 8; incomplete download?");
}

TEST(Error, SuggestsTheNearestName) {
  EXPECT_EQ(nearest("lsn", {"pre", "lns", "post"}), "lns");
  EXPECT_EQ(nearest("sandwhich", {"pre", "sandwich"}), "sandwich");
  EXPECT_EQ(nearest("zzzzzz", {"pre", "lns"}), "");
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
  const auto folder = std::filesystem::temp_directory_path() / "fathom-core-test";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  {
    AtomicFile f(folder / "x");
    f.write("half");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder));
  write_text_file(folder / "x", "whole");
  EXPECT_EQ(read_text_file(folder / "x"), "whole");
  EXPECT_THROW(read_text_file(folder / "none"), Error);
  EXPECT_THROW(read_text_file(folder), Error);
  EXPECT_THROW(read_text_file(folder / "x", 3), Error);
  std::filesystem::remove_all(folder);
}

TEST(AtomicFile, NamesAFullDisk) {
  try {
    AtomicFile f("/dev/full/x");
    FAIL() << "a file below a device was created";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("/dev/full/x"), std::string::npos);
  }
}

}  // namespace
}  // namespace fathom
