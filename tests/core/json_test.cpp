#include "core/json.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

TEST(Json, IsReadFromTextAndFiles) {
  EXPECT_EQ(parse_json(R"({"a": [1, null]})")["a"], nlohmann::json::array({1, nullptr}));
  EXPECT_EQ(parse_json_or_discard("[2]"), nlohmann::json::array({2}));
  const test::TempFolder folder;
  write_text_file(folder / "a.json", "{\"b\": true}");
  EXPECT_EQ(read_json(folder / "a.json")["b"], true);
}

TEST(Json, SaysWhatIsNone) {
  for (const char* text : {"", "{", "[1,]", "nan", "[1] 2"}) {
    EXPECT_THROW(parse_json(text), nlohmann::json::parse_error) << text;
    EXPECT_TRUE(parse_json_or_discard(text).is_discarded()) << text;
  }
  EXPECT_ERROR(read_json("/nowhere.json"), ErrorCode::kFailed, "/nowhere.json");
}

}  // namespace
}  // namespace fathom
