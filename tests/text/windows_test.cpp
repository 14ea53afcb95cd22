#include "text/windows.h"

#include "text/helpers.h"

namespace fathom {
namespace {

const Tokenizer& letters(bool add_bos) {
  static const std::vector<std::string> pieces = {"a", "b", "c", "d", "e", "f", "g", "h"};  // ids 259 to 266
  static const Tokenizer plain(pieces, false), with_bos(pieces, true);
  return add_bos ? with_bos : plain;
}

TEST(TextToWindows, JoinsDocumentsByEosAndCutsWithoutOverlap) {
  const ScratchFolder folder;
  const auto path = folder.write("a.jsonl", "{\"text\": \"abc\"}\n{\"text\": \"de\"}\n{\"text\": \"f\"}\n");
  EXPECT_EQ(text_to_windows(letters(false), {path}, 3),
            (TokenSequences{{259, 260, 261}, {2, 262, 263}, {2, 264}}));
  EXPECT_EQ(text_to_windows(letters(true), {path}, 3),
            (TokenSequences{{1, 259, 260, 261}, {1, 2, 262, 263}, {1, 2, 264}}));
  EXPECT_EQ(text_to_windows(letters(false), {path}, 100).size(), 1u);
}

TEST(TextToWindows, DropsALastWindowWithoutTarget) {
  const ScratchFolder folder;
  const auto path = folder.write("a.txt", "abcdefg");
  EXPECT_EQ(text_to_windows(letters(false), {path}, 3).size(), 2u);
  EXPECT_EQ(text_to_windows(letters(true), {path}, 3).back(), (std::vector<int32_t>{1, 265}));
  EXPECT_EQ(text_to_windows(letters(true), {path}, 1).size(), 7u);
  EXPECT_TRUE(
      contains(error_of([&] { text_to_windows(letters(false), {path}, 1); }), "no window of two tokens"));
  EXPECT_TRUE(
      contains(error_of([&] { text_to_windows(letters(false), {path}, 0); }), "sequence length of 0"));
}

TEST(TextToWindows, StopsAtMaxTokens) {
  const ScratchFolder folder;
  folder.write("a.txt", "abcdefgh");
  folder.write("b.txt", "abc\xff");  // not reached
  EXPECT_EQ(text_to_windows(letters(true), {folder.path()}, 3, 5),
            (TokenSequences{{1, 259, 260, 261}, {1, 262, 263}}));
  EXPECT_TRUE(
      contains(error_of([&] { text_to_windows(letters(true), {folder.path()}, 3, 9); }), "invalid UTF-8"));
}

TEST(TokenIdsJson, ReadsSequences) {
  const ScratchFolder folder;
  const auto path = folder.write("ids.json", "[[1, 5, 7], [0, 2147483647]]");
  EXPECT_EQ(read_token_ids_json(path), (TokenSequences{{1, 5, 7}, {0, 2147483647}}));
}

TEST(TokenIdsJson, NamesWhatIsWrong) {
  const ScratchFolder folder;
  const auto error = [&](const std::string& json) {
    const auto path = folder.write("ids.json", json);
    return error_of([&] { read_token_ids_json(path, 10); });
  };
  EXPECT_TRUE(contains(error("[[1, 2], [3, 10]]"), "sequence 1 holds 10 where an id from 0 to 9"));
  EXPECT_TRUE(contains(error("[[1, -2]]"), "sequence 0 holds -2"));
  EXPECT_TRUE(contains(error("[[1, 2.5]]"), "holds 2.5"));
  EXPECT_TRUE(contains(error("[[1, \"2\"]]"), "holds \"2\""));
  EXPECT_TRUE(contains(error("[[1, 18446744073709551616]]"), "sequence 0 holds"));
  EXPECT_TRUE(contains(error("[[1]]"), "fewer than two ids"));
  EXPECT_TRUE(contains(error("[1, 2]"), "sequence 0 is not an array"));
  EXPECT_TRUE(contains(error("[]"), "not an array of sequences"));
  EXPECT_TRUE(contains(error("{}"), "not an array of sequences"));
  EXPECT_TRUE(contains(error("[[1, 2"), "not valid JSON"));
  EXPECT_TRUE(contains(error_of([&] { read_token_ids_json(folder / "none.json"); }), "none.json"));
}

}  // namespace
}  // namespace fathom
