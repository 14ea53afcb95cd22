#include "eval/requests.h"

#include <fstream>

#include <gtest/gtest.h>

#include "eval/perplexity.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

using Ids = std::vector<int32_t>;

// Ids from 259 on: "a", "b", ":", ": ", ": a", and a space's byte is 3 + 0x20.
const Tokenizer& letters(bool add_bos) {
  static const std::vector<std::string> pieces = {"a", "b", ":", ":\u2581", ":\u2581a"};
  static const Tokenizer plain(pieces, false), with_bos(pieces, true);
  return add_bos ? with_bos : plain;
}

ScoreRequest encode(const std::string& context, const std::string& continuation, bool add_bos = false,
                    size_t max_length = 100, bool* truncated = nullptr) {
  bool cut = false;
  ScoreRequest request = encode_request(letters(add_bos), context, continuation, max_length, cut);
  if (truncated != nullptr) *truncated = cut;
  return request;
}

TEST(EncodeRequest, SplitsTheJointTextByTheContextsOwnLength) {
  const Ids context = letters(false).encode("b:"), whole = letters(false).encode("b: a");
  const ScoreRequest request = encode("b:", " a");
  ASSERT_GT(whole.size(), context.size());
  EXPECT_EQ(request.scored, whole.size() - context.size());
  Ids expected = context;
  expected.insert(expected.end(), whole.begin() + static_cast<std::ptrdiff_t>(context.size()), whole.end());
  EXPECT_EQ(request.ids, expected);
}

// A token that crosses the border, "ab", is in neither part: the harness feeds the context as it is by
// itself, and what is left of the joint text behind as many ids.
TEST(EncodeRequest, KeepsTheContextsOwnIdsWhereATokenCrosses) {
  const std::vector<std::string> pieces = {"a", "b", "ab"};
  const Tokenizer tokenizer(pieces, false);
  const Ids context = tokenizer.encode("a"), whole = tokenizer.encode("abb"), joined = tokenizer.encode("ab");
  ASSERT_EQ(joined.size(), 1u);
  ASSERT_EQ(whole, (Ids{joined[0], tokenizer.encode("b")[0]}));
  bool cut = false;
  const ScoreRequest request = encode_request(tokenizer, "a", "bb", 100, cut);
  EXPECT_EQ(request.ids, (Ids{context[0], whole[1]}));
  EXPECT_EQ(request.scored, 1u);
}

TEST(EncodeRequest, MovesWhiteSpaceAtTheEndOfTheContext) {
  EXPECT_EQ(encode("ab \n", "b").ids, encode("ab", " \nb").ids);
  EXPECT_EQ(encode("ab \n", "b").scored, encode("ab", " \nb").scored);
}

TEST(EncodeRequest, PutsTheBosWhereTheTokenizerDoes) {
  const ScoreRequest plain = encode("ab", " b"), with = encode("ab", " b", true);
  Ids expected = plain.ids;
  expected.insert(expected.begin(), 1);
  EXPECT_EQ(with.ids, expected);
  EXPECT_EQ(with.scored, plain.scored);
}

TEST(EncodeRequest, StartsAnEmptyContextWithTheBos) {
  for (const bool add_bos : {false, true}) {
    const ScoreRequest request = encode("", " b", add_bos);
    EXPECT_EQ(request.ids.front(), 1);
    EXPECT_EQ(request.scored, request.ids.size() - 1);
    EXPECT_EQ(encode(" ", "b", add_bos).ids, request.ids);
  }
}

TEST(EncodeRequest, KeepsTheEndOfWhatIsTooLong) {
  bool truncated = true;
  const ScoreRequest whole = encode("abababab", " a", false, 100, &truncated);
  EXPECT_FALSE(truncated);
  const ScoreRequest cut = encode("abababab", " a", false, 4, &truncated);
  EXPECT_TRUE(truncated);
  EXPECT_EQ(cut.ids, Ids(whole.ids.end() - 5, whole.ids.end()));  // max_length + 1: the last is no input
  EXPECT_EQ(cut.scored, whole.scored);
  EXPECT_ERROR(encode("ab", " aaaaaaaa", false, 3), ErrorCode::kFailed, "more than the model's context of 3");
}

TEST(PrepareTask, NamesTheItemThatCannotBeAsked) {
  const test::TempFolder folder;
  std::ofstream(folder / "mmlu.test.jsonl")
      << "{\"id\": \"7\", \"query\": \"q\", \"choices\": [\"a\", \"b\"], \"gold\": 1}\n";
  EXPECT_ERROR(prepare_task(folder.path(), find_task("mmlu"), {}, letters(false), 100), ErrorCode::kFailed,
               "mmlu.test.jsonl", "item 1", "names no subject");
  EXPECT_ERROR(prepare_task(folder.path(), find_task("piqa"), {}, letters(false), 100), ErrorCode::kFailed,
               "piqa.validation.jsonl: no such file", "ybisk/piqa");
}

TEST(PrepareTask, LimitsMmluBySubjectAndTakesExamplesOfTheSubject) {
  const test::TempFolder folder;
  std::ofstream test(folder / "mmlu.test.jsonl"), dev(folder / "mmlu.dev.jsonl");
  for (const char* subject : {"astronomy", "virology"}) {
    for (int i = 0; i < 3; ++i) {
      const std::string line = "{\"id\": \"" + std::string(subject) + "/" + std::to_string(i) +
                               "\", \"query\": \"" + std::string(i + 1, subject[0]) +
                               "\", \"choices\": [\"a\", \"b\"], \"gold\": 1}\n";
      test << line;
      if (i < 2) dev << line;
    }
  }
  test.close();
  dev.close();
  const PreparedTask task = prepare_task(folder.path(), find_task("mmlu"),
                                         {.split = {}, .limit = 2, .num_fewshot = 2}, letters(false), 1000);
  ASSERT_EQ(task.items.size(), 4u);
  EXPECT_EQ(task.items[2].id, "virology/0");
  const std::string text = letters(false).decode(task.items[2].requests[1].ids);
  EXPECT_EQ(text,
            "The following are multiple choice questions (with answers) about virology.\n\n"
            "v\nA. a\nB. b\nAnswer: B\n\nvv\nA. a\nB. b\nAnswer: B\n\nv\nA. a\nB. b\nAnswer: B");
  EXPECT_ERROR(prepare_task(folder.path(), find_task("mmlu"), {.split = {}, .limit = 0, .num_fewshot = 3},
                            letters(false), 1000),
               ErrorCode::kFailed, "2 examples of \"astronomy\"");
}

TEST(Perplexity, WindowsScoreEachTokenOnce) {
  const Ids ids{10, 11, 12, 13, 14, 15, 16, 17};
  PerplexitySettings s;
  s.window = 4;
  s.stride = 2;
  const auto windows = perplexity_windows(letters(false), ids, s);
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[0].ids, (Ids{10, 11, 12, 13}));
  EXPECT_EQ(windows[0].scored, 3u);
  EXPECT_EQ(windows[1].ids, (Ids{12, 13, 14, 15}));
  EXPECT_EQ(windows[1].scored, 2u);
  EXPECT_EQ(windows[2].scored, 2u);
  EXPECT_EQ(perplexity_windows(letters(true), ids, s)[0].ids, (Ids{1, 10, 11, 12}));
  s.stride = 4;  // without overlap each window's first token has nothing before it
  EXPECT_EQ(perplexity_windows(letters(false), ids, s)[1].scored, 3u);
}

TEST(Perplexity, OfLlamaCppScoresSecondHalvesBehindABos) {
  const Ids ids{10, 11, 12, 13, 14, 15, 16, 17, 18};
  PerplexitySettings s;
  s.convention = PerplexitySettings::Convention::kLlamaCpp;
  s.window = 4;
  auto chunks = perplexity_windows(letters(false), ids, s);
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(chunks[1].ids, (Ids{14, 15, 16, 17}));
  EXPECT_EQ(chunks[1].scored, 1u);
  chunks = perplexity_windows(letters(true), ids, s);
  EXPECT_EQ(chunks[0].ids, (Ids{1, 10, 11, 12}));
  EXPECT_EQ(chunks[1].ids, (Ids{1, 14, 15, 16}));  // the BOS in place of 13
  s.window = 8;
  EXPECT_ERROR(perplexity_windows(letters(false), ids, s), ErrorCode::kFailed, "9 tokens", "two chunks of 8");
}

TEST(Perplexity, RefusesSizesThatMakeNoSense) {
  PerplexitySettings s;
  s.window = 200;
  EXPECT_ERROR(resolve(s, 100), ErrorCode::kUsage, "longer than the model's context of 100");
  s.window = 50;
  s.stride = 60;
  EXPECT_ERROR(resolve(s, 100), ErrorCode::kUsage, "leaves out tokens");
  EXPECT_ERROR(parse_convention("llamacpp"), ErrorCode::kUsage, "known: hf, llama.cpp");
  EXPECT_EQ(resolve({}, 5000).window, 1024u);
  EXPECT_EQ(resolve({}, 5000).stride, 512u);
}

}  // namespace
}  // namespace fathom
