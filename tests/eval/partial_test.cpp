#include "eval/partial.h"

#include <cmath>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

TEST(PartialResults, ComeBackBitForBit) {
  const test::TempFolder folder;
  const auto path = folder / "scores.json.partial";
  const std::vector<double> values{-1.0 / 3, -1e-300, -123456.789012345678, -INFINITY};
  PartialResults written(path, "f1");
  EXPECT_EQ(written.items(), 0u);
  written.of("piqa") = {values, {std::nan(""), INFINITY}};
  written.save();
  PartialResults read(path, "f1");
  EXPECT_EQ(read.items(), 2u);
  EXPECT_EQ(read.of("piqa")[0], values);
  EXPECT_TRUE(std::isnan(read.of("piqa")[1][0]));
  EXPECT_EQ(read.of("piqa")[1][1], INFINITY);
  read.remove();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(PartialResults, OfAnotherRunAreRefused) {
  const test::TempFolder folder;
  const auto path = folder / "scores.json.partial";
  PartialResults(path, "f1").save();
  EXPECT_ERROR(PartialResults(path, "f2"), ErrorCode::kFailed, "scores.json.partial", "another run",
               "delete it");
  std::ofstream(path) << "{\"fingerprint\": \"f1\", \"tasks\": 5";
  EXPECT_ERROR(PartialResults(path, "f1"), ErrorCode::kFailed, "not a file of partial results");
}

TEST(PartialResults, WithoutAPathKeepNothing) {
  PartialResults none({}, "f1");
  none.of("piqa").push_back({-1});
  none.save();
  none.remove();
}

}  // namespace
}  // namespace fathom
