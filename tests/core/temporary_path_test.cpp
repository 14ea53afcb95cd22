#include "core/temporary_path.h"

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "core/file.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

std::string partial(const std::string& stem) { return stem + ".partial-" + std::to_string(::getpid()); }

TEST(RequireFree, SaysWhereNothingCanBeMade) {
  const test::TempFolder folder;
  write_text_file(folder / "file", "");
  require_free(folder / "new");
  require_free(folder / "several/new/ones");
  require_free("here");
  EXPECT_ERROR(require_free(folder / "file"), ErrorCode::kFailed, "exists already");
  EXPECT_ERROR(require_free(folder / "file/below"), ErrorCode::kFailed, "can't be made", "is no folder");
  if (::geteuid() == 0) return;  // who may write everywhere
  fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_ERROR(require_free(folder / "several/new"), ErrorCode::kFailed, "can't be made in");
  fs::permissions(folder.path(), fs::perms::owner_all);
}

TEST(TemporaryPath, LiesBesideItsTargetAndIsGoneWithoutCommit) {
  const test::TempFolder folder;
  {
    const TemporaryPath temporary(folder / "model.gguf");
    EXPECT_EQ(temporary.path(), folder / (partial("model") + ".gguf"));
    write_text_file(temporary.path(), "half");
  }
  {
    const TemporaryPath temporary(folder / "model");
    fs::create_directories(temporary.path() / "inside");
    write_text_file(temporary.path() / "inside/x", "half");
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(TemporaryPath, BecomesItsTarget) {
  const test::TempFolder folder;
  {
    TemporaryPath temporary(folder / "model");
    fs::create_directories(temporary.path());
    write_text_file(temporary.path() / "x", "whole");
    temporary.commit();
  }
  EXPECT_EQ(read_text_file(folder / "model/x"), "whole");
  EXPECT_FALSE(fs::exists(folder / partial("model")));
}

TEST(TemporaryPath, OfAFolderWithASlashIsBesideItToo) {
  const test::TempFolder folder;
  fs::create_directories(folder / "model");  // empty: may be replaced
  {
    TemporaryPath temporary(folder / "model/");
    EXPECT_EQ(temporary.path(), folder / partial("model"));
    fs::create_directories(temporary.path());
    write_text_file(temporary.path() / "x", "whole");
    temporary.commit();
  }
  EXPECT_EQ(read_text_file(folder / "model/x"), "whole");
  EXPECT_EQ(without_trailing_slash("a/b/"), "a/b");
  EXPECT_EQ(without_trailing_slash("a/b"), "a/b");
}

TEST(TemporaryPath, ClearsWhatAnInterruptedRunLeft) {
  const test::TempFolder folder;
  write_text_file(folder / partial("model"), "of a process with the same number");
  const TemporaryPath temporary(folder / "model");
  EXPECT_FALSE(fs::exists(temporary.path()));
}

TEST(TemporaryPath, DoesNotReplaceWhatIsThere) {
  const test::TempFolder folder;
  fs::create_directories(folder / "model");
  write_text_file(folder / "model/x", "theirs");
  {
    TemporaryPath temporary(folder / "model");
    fs::create_directories(temporary.path());
    EXPECT_ERROR(temporary.commit(), ErrorCode::kFailed, (folder / "model").c_str(), "can't be put in place");
  }
  EXPECT_EQ(read_text_file(folder / "model/x"), "theirs");
  EXPECT_FALSE(fs::exists(folder / partial("model")));
}

TEST(TemporaryPath, OfTheCallersNameBecomesItsTarget) {
  const test::TempFolder folder;
  {
    TemporaryPath temporary(folder / "step-3", folder / ".tmp-step-3");
    EXPECT_EQ(temporary.path(), folder / ".tmp-step-3");
    fs::create_directories(temporary.path());
    temporary.commit();
  }
  EXPECT_TRUE(fs::is_directory(folder / "step-3"));
  EXPECT_FALSE(fs::exists(folder / ".tmp-step-3"));
}

TEST(RequireFree, TakesNothingAndAnEmptyFolderAlone) {
  const test::TempFolder folder;
  fs::create_directories(folder / "empty");
  fs::create_directories(folder / "full");
  write_text_file(folder / "full/x", "theirs");
  for (const char* free : {"new", "new/", "empty", "empty/"})
    EXPECT_NO_THROW(require_free(folder / free)) << free;
  EXPECT_ERROR(require_free(folder / "full"), ErrorCode::kFailed, (folder / "full").c_str(),
               "exists already and is not empty", "--out");
  EXPECT_ERROR(require_free(folder / "full/"), ErrorCode::kFailed, "is not empty");
  EXPECT_ERROR(require_free(folder / "full/x"), ErrorCode::kFailed, "exists already");
  EXPECT_ERROR(require_free(folder / "full/x/"), ErrorCode::kFailed, "exists already");
}

}  // namespace
}  // namespace fathom
