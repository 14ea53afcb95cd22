#include "text/utf8.h"

#include <string>

#include <gtest/gtest.h>

namespace fathom {
namespace {

constexpr size_t kNone = std::string_view::npos;

TEST(Utf8, AcceptsEveryLengthAtItsBorders) {
  for (const char* valid : {"\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                            "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(utf8_char_length(valid), std::string_view(valid).size());
    EXPECT_EQ(find_invalid_utf8(valid), kNone);
  }
  EXPECT_EQ(utf8_char_length(std::string_view("\0", 1)), 1u);
  EXPECT_EQ(utf8_char_length(""), 0u);
}

TEST(Utf8, FindsTheFirstBadByteWhereverItStands) {
  for (const char* invalid :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3", "\xe2\x82", "\xf0\x9f\x98"}) {
    for (size_t before = 0; before < 20; ++before) {
      EXPECT_EQ(find_invalid_utf8(std::string(before, 'a') + invalid), before) << invalid;
      EXPECT_EQ(find_invalid_utf8(std::string(before, 'a') + invalid + "bcdefghijkl"), before) << invalid;
    }
  }
}

TEST(Utf8, FloorDoesNotCutACharacter) {
  const std::string_view text = "a\xe2\x82\xac";
  EXPECT_EQ(utf8_floor(text, 0), 0u);
  EXPECT_EQ(utf8_floor(text, 1), 1u);
  EXPECT_EQ(utf8_floor(text, 2), 1u);
  EXPECT_EQ(utf8_floor(text, 3), 1u);
  EXPECT_EQ(utf8_floor(text, 4), 4u);
  EXPECT_EQ(utf8_floor(text, 9), 4u);
}

}  // namespace
}  // namespace fathom
