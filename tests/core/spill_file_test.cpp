#include "core/spill_file.h"

#include <cstring>
#include <filesystem>

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

TEST(SpillFile, KeepsWhatIsDroppedFromMemoryAndLeavesNothingBehind) {
  const test::TempFolder folder;
  constexpr size_t kBytes = 3 * 4096 + 17;
  SpillFile file(folder.path(), kBytes);
  EXPECT_EQ(file.size(), kBytes);
  for (size_t i = 0; i < kBytes; ++i) file.data()[i] = static_cast<std::byte>(i * 7);
  file.drop(0, kBytes);
  file.drop(100, 5000);
  SpillFile moved = std::move(file);
  for (size_t i = 0; i < kBytes; ++i) ASSERT_EQ(moved.data()[i], static_cast<std::byte>(i * 7)) << i;
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SpillFile, ErrorsNameTheFolder) {
  EXPECT_ERROR(SpillFile("/no/such/folder", 10), ErrorCode::kFailed, "/no/such/folder", "folder that exists");
  const test::TempFolder folder;
  EXPECT_ERROR(SpillFile(folder.path(), size_t{1} << 55), ErrorCode::kFailed, "cannot hold", "32");
}

}  // namespace
}  // namespace fathom
