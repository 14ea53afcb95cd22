#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/file.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

// Which pages of the map are in this process's memory, by the kernel's own table.
std::vector<bool> pages_in_memory(const MappedFile& file) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t first = reinterpret_cast<uintptr_t>(file.bytes().data()) / page;
  std::vector<uint64_t> entries((file.bytes().size() + page - 1) / page);
  const size_t bytes = entries.size() * sizeof(uint64_t);
  const int table = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  const bool read = ::pread(table, entries.data(), bytes, static_cast<off_t>(first * sizeof(uint64_t))) ==
                    static_cast<ssize_t>(bytes);
  ::close(table);
  std::vector<bool> present;
  for (const uint64_t entry : entries) present.push_back(read && entry >> 63 != 0);
  return present;
}

class MappedFileDrop : public ::testing::Test {
 protected:
  void SetUp() override {
    // Three pages and a part of a fourth.
    write_text_file(folder_ / "x", std::string(3 * kPage + 100, 'x'));
    file_ = MappedFile(folder_ / "x");
    touch();
    if (pages_in_memory(file_) != std::vector<bool>(4, true)) GTEST_SKIP() << "no /proc/self/pagemap";
  }
  void touch() const {
    for (const std::byte b : file_.bytes()) ASSERT_EQ(b, std::byte{'x'});
  }

  const size_t kPage = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const test::TempFolder folder_;
  MappedFile file_;
};

using Pages = std::vector<bool>;

TEST_F(MappedFileDrop, LeavesPagesThatAreOnlyInPartOfTheRange) {
  file_.drop(1, 2 * kPage);
  EXPECT_EQ(pages_in_memory(file_), (Pages{true, false, true, true}));
  file_.drop(0, kPage - 1);
  file_.drop(2 * kPage, 0);
  EXPECT_EQ(pages_in_memory(file_), (Pages{true, false, true, true}));
  touch();  // what was dropped comes back from the file
}

TEST_F(MappedFileDrop, TakesTheLastPageWhereTheRangeReachesTheEnd) {
  file_.drop(2 * kPage, kPage + 100);
  EXPECT_EQ(pages_in_memory(file_), (Pages{true, true, false, false}));
}

TEST_F(MappedFileDrop, ClampsARangeThatIsTooLong) {
  file_.drop(kPage, std::numeric_limits<size_t>::max());
  EXPECT_EQ(pages_in_memory(file_), (Pages{true, false, false, false}));
  file_.drop(4 * kPage, 1);
  file_.drop(std::numeric_limits<size_t>::max(), std::numeric_limits<size_t>::max());
  EXPECT_EQ(pages_in_memory(file_), (Pages{true, false, false, false}));
}

TEST_F(MappedFileDrop, PrefetchTakesAnyRange) {
  constexpr size_t kMost = std::numeric_limits<size_t>::max();
  for (const size_t offset : {size_t{0}, size_t{5}, 3 * kPage + 99, 3 * kPage + 100, kMost}) {
    for (const size_t length : {size_t{0}, size_t{1}, 2 * kPage, kMost}) file_.prefetch(offset, length);
  }
  touch();
  const MappedFile none;
  none.prefetch(0, 1);
  none.drop(0, 1);
}

}  // namespace
}  // namespace fathom
