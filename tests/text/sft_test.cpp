// Lines of JSON to examples: the forms, the mask, what is cut and dropped, and errors with file and line.

#include <numeric>

#include "text/chat_template.h"
#include "text/helpers.h"
#include "text/sft.h"

namespace fathom {
namespace {

using Ids = std::vector<int32_t>;

struct Read {
  std::vector<SftExample> examples;
  SftReport report;
};

Read read(const std::string& lines, SftOptions options = {}, const std::string& name = "data.jsonl") {
  const ScratchFolder folder;
  const ChatTemplate chat = ChatTemplate::chatml();
  Read made;
  made.examples =
      read_sft_examples({folder.write(name, lines)}, small_tokenizer(), &chat, options, made.report);
  return made;
}

std::string scored_text(const SftExample& example) {
  Ids ids;
  for (size_t i = 0; i < example.ids.size(); ++i) {
    if (example.scored[i]) ids.push_back(example.ids[i]);
  }
  return small_tokenizer().decode(ids);
}

std::string error_in(const std::string& lines, SftOptions options = {},
                     const std::string& name = "data.jsonl") {
  return error_of([&] { read(lines, options, name); });
}

TEST(SftExamples, ScoreAResponseAndItsEosAndNothingOfThePrompt) {
  const Read made = read(R"({"prompt": "the river was", "response": " measured"}
{"prompt": "the depth: ", "completion": "morning"}
)");
  ASSERT_EQ(made.examples.size(), 2u);
  const SftExample& first = made.examples[0];
  EXPECT_EQ(scored_text(first), " measured");
  EXPECT_EQ(first.ids.back(), small_tokenizer().eos_id());
  EXPECT_EQ(first.scored.back(), 1);
  EXPECT_EQ(first.scored.front(), 0);
  Ids whole = small_tokenizer().encode("the river was measured");
  whole.push_back(small_tokenizer().eos_id());
  EXPECT_EQ(first.ids, whole);
  EXPECT_EQ(scored_text(made.examples[1]), " morning");  // one token holds the space and the word
  EXPECT_EQ(made.report.prompts, 2u);
  EXPECT_EQ(made.report.tokens, first.ids.size() + made.examples[1].ids.size());
}

TEST(SftExamples, RenderConversationsWithTheTemplateAndTheSystemPrompt) {
  const std::string line =
      R"({"messages": [{"role": "user", "content": "the river"}, {"role": "assistant", "content": "was"}, {"role": "user", "content": "left out"}]})";
  const Read made = read(line, {.system_prompt = "the captain"});
  const std::string text = small_tokenizer().decode(made.examples[0].ids);
  EXPECT_TRUE(text.starts_with("<|im_start|>system\nthe captain<|im_end|>\n<|im_start|>user\nthe river"))
      << text;
  EXPECT_EQ(text.find("left out"), std::string::npos) << "nothing behind the last target is kept: " << text;
  EXPECT_TRUE(scored_text(made.examples[0]).starts_with("was<|im_end|>"));
  const Read chat = read(R"({"prompt": "the river", "response": "was"})", {.chat_prompts = true});
  EXPECT_TRUE(
      small_tokenizer().decode(chat.examples[0].ids).starts_with("<|im_start|>user\nthe river<|im_end|>"));
  EXPECT_EQ(made.report.conversations, 1u);
}

TEST(SftExamples, ScoreTheLastTurnOnlyWhereAsked) {
  const std::string line =
      R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "the river"}, {"role": "user", "content": "b"}, {"role": "assistant", "content": "the vessel"}]})";
  EXPECT_TRUE(contains(scored_text(read(line).examples[0]), "the river"));
  const std::string last = scored_text(read(line, {.last_turn_only = true}).examples[0]);
  EXPECT_EQ(last.find("river"), std::string::npos);
  EXPECT_TRUE(contains(last, "the vessel"));
}

TEST(SftExamples, RenderQuestionsAsTheEvaluationDoes) {
  const std::string line =
      R"({"query": "What is deep?", "choices": ["the captain", "the river"], "gold": 1})";
  const Read made = read(line, {}, "arc_easy.train.jsonl");
  EXPECT_EQ(small_tokenizer().decode(made.examples[0].ids), "Question: What is deep?\nAnswer: the river");
  EXPECT_EQ(scored_text(made.examples[0]), " the river");
  EXPECT_EQ(read(line, {.task = "arc_easy"}).examples, made.examples);
  EXPECT_EQ(made.report.questions, 1u);
  EXPECT_TRUE(contains(error_in(line), "data.jsonl:1: the file's name does not say how its questions are "
                                       "rendered: unknown task 'data'; give --task"));
  EXPECT_TRUE(contains(error_in(line, {.task = "arc_esy"}), "arc_easy"));
}

TEST(SftExamples, AreReadFromCompressedFilesAndSeveralAtOnce) {
  const ScratchFolder folder;
  const std::string line = "\xef\xbb\xbf{\"prompt\": \"a\", \"response\": \"b\"}\r\n\n";
  SftReport report;
  const auto examples =
      read_sft_examples({folder.write("a.jsonl", line), folder.write("b.jsonl.gz", gzip(line)),
                         folder.write("c.jsonl.zst", zstd(line))},
                        small_tokenizer(), nullptr, {}, report);
  ASSERT_EQ(examples.size(), 3u);
  EXPECT_EQ(examples[0], examples[1]);
  EXPECT_EQ(examples[0], examples[2]);
}

TEST(SftExamples, LoseTheBeginningOfAPromptThatIsTooLong) {
  std::string prompt;
  for (int i = 0; i < 50; ++i) prompt += "the river was deep ";
  const std::string line = "{\"prompt\": \"" + prompt + "\", \"response\": \" measured\"}\n";
  const Read whole = read(line), cut = read(line, {.seq = 16});
  ASSERT_EQ(cut.examples[0].ids.size(), 17u);
  const Ids& all = whole.examples[0].ids;
  EXPECT_EQ(cut.examples[0].ids, Ids(all.end() - 17, all.end()));
  EXPECT_EQ(scored_text(cut.examples[0]), " measured");
  EXPECT_EQ(cut.report.truncated, 1u);
  EXPECT_EQ(cut.report.longest, all.size());
  EXPECT_TRUE(contains(cut.report.text(), "1 cut on the left"));
}

TEST(SftExamples, DropAResponseThatDoesNotFitAndSayIt) {
  const std::string fits = "{\"prompt\": \"a\", \"response\": \"b\"}\n";
  std::string longer = "{\"prompt\": \"a\", \"response\": \"";
  for (int i = 0; i < 50; ++i) longer += "river ";
  const Read made = read(fits + longer + "\"}\n", {.seq = 8});
  EXPECT_EQ(made.examples.size(), 1u);
  EXPECT_EQ(made.report.dropped, 1u);
  EXPECT_EQ(made.report.lines, 2u);
  EXPECT_TRUE(contains(made.report.text(), "1 left out"));
  EXPECT_TRUE(contains(error_in(longer + "\"}\n", {.seq = 8}),
                       "no response fits into a window of 8 tokens; give a larger --seq"));
}

TEST(SftExamples, NameFileAndLineOfABadOne) {
  const std::string good = "{\"prompt\": \"a\", \"response\": \"b\"}\n\n";
  const std::pair<const char*, const char*> cases[] = {
      {"{\"prompt\": \"a\", \"response\": \"\"}", "an empty response"},
      {"{\"prompt\": \"a\"}", "has a \"prompt\" without a \"response\""},
      {"{\"prompt\": 3, \"response\": \"b\"}", "\"prompt\" must be a text"},
      {"{\"text\": \"a\"}", "is of no known form"},
      {"[1]", "is of no known form"},
      {"{\"prompt\": ", "not valid JSON"},
      {"{\"query\": \"q\", \"choices\": [\"a\", \"b\"]}", "gold"},
      {"{\"query\": \"q\", \"choices\": [\"a\", \"b\"], \"gold\": 2}",
       "\"gold\" is 2, outside the 2 choices"},
      {"{\"query\": \"q\", \"choices\": [\"a\", \"b\"], \"gold\": -1}",
       "\"gold\" is -1, outside the 2 choices"},
      {"{\"messages\": []}", "\"messages\" must be a list of turns"},
      {"{\"messages\": [{\"content\": \"a\"}]}", "turn 1 has no \"role\""},
      {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}", "the conversation has no answer"},
      {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": "
       "\"\"}]}",
       "turn 2: an empty response"},
      {"{\"messages\": [{\"role\": \"user\"}, {\"role\": \"assistant\", \"content\": \"a\"}]}",
       "the ChatML template:1: a dict has no 'content'"},
      {"\xff", "invalid UTF-8 (0xff)"},
  };
  for (const auto& [line, part] : cases) {
    const std::string error = error_in(good + line + "\n", {.task = "arc_easy"});
    EXPECT_TRUE(contains(error, "data.jsonl:3: ")) << line;
    EXPECT_TRUE(contains(error, part)) << line;
  }
  EXPECT_TRUE(contains(error_in("\n"), "holds no example"));
  SftReport report;
  const ScratchFolder folder;
  const auto path = folder.write("x.jsonl", R"({"messages": [{"role": "assistant", "content": "a"}]})");
  EXPECT_TRUE(contains(error_of([&] { read_sft_examples({path}, small_tokenizer(), nullptr, {}, report); }),
                       "the model has no chat template"));
  EXPECT_TRUE(contains(
      error_of([&] { read_sft_examples({folder / "none"}, small_tokenizer(), nullptr, {}, report); }),
      "none"));
}

TEST(SftExamples, AreSplitByTheSeedIntoTrainingAndValidation) {
  std::vector<SftExample> examples;
  for (int32_t i = 0; i < 100; ++i) examples.push_back({{i, i}, {0, 1}});
  const auto [training, validation] = split_examples(examples, 0.1, 7);
  EXPECT_EQ(validation.size(), 10u);
  EXPECT_EQ(training.size(), 90u);
  EXPECT_EQ(split_examples(examples, 0.1, 7).second, validation);
  EXPECT_NE(split_examples(examples, 0.1, 8).second, validation);
  EXPECT_EQ(split_examples(examples, 0, 7).first, examples);
  EXPECT_EQ(split_examples({examples[0], examples[1]}, 0.001, 7).second.size(), 1u);
  EXPECT_TRUE(contains(error_of([&] { split_examples({examples[0]}, 0.5, 7); }), "cannot be split"));
  EXPECT_TRUE(contains(error_of([&] { split_examples(examples, 1, 7); }), "a share of 1"));
}

}  // namespace
}  // namespace fathom
