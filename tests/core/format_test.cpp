#include "core/format.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(Format, ReadsCountsWithUnits) {
  EXPECT_EQ(parse_count("1.5k"), 1500.0);
  EXPECT_EQ(parse_count("-2M"), -2e6);
  EXPECT_EQ(parse_count("3g"), 3e9);
  EXPECT_EQ(parse_count("3B"), 3e9);
  EXPECT_EQ(parse_count("1T"), 1e12);
  EXPECT_EQ(parse_count("1e3"), 1000.0);
  for (const char* text : {"", "k", "5x", "5kk", "5 k", "0x10", "nan", "inf", "1e999"})
    EXPECT_FALSE(parse_count(text)) << text;
}

TEST(Format, ReadsWholeCountsExactly) {
  EXPECT_EQ(parse_whole_count("2.2B"), 2'200'000'000u);
  EXPECT_EQ(parse_whole_count("1.5k"), 1500u);
  EXPECT_EQ(parse_whole_count("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(parse_whole_count("0"), 0u);
  for (const char* text : {"1.5", "1.2345k", "-1", "18446744073709551616", "20000000T", "many"})
    EXPECT_FALSE(parse_whole_count(text)) << text;
}

}  // namespace
}  // namespace fathom
