#include "text/task.h"

#include "support/expect_error.h"
#include "text/helpers.h"
#include "text/white_space.h"

namespace fathom {
namespace {

using Strings = std::vector<std::string>;

TaskItem item_of(const std::string& query, const Strings& choices, size_t gold = 0) {
  TaskItem item;
  item.id = "0";
  item.query = query;
  item.choices = choices;
  item.gold = gold;
  return item;
}

/// Context, then each continuation, of an item whose requests share one context.
Strings requests_of(const std::string& task, const TaskItem& item) {
  const RenderedItem rendered = render_item(find_task(task), item);
  Strings all{rendered.requests.at(0).context};
  for (const TaskRequest& request : rendered.requests) {
    EXPECT_EQ(request.context, all[0]);
    all.push_back(request.continuation);
  }
  return all;
}

TEST(WhiteSpace, IsWhatPythonTakesForIt) {
  EXPECT_EQ(strip("\u00a0\u3000 a b\x1f\n"), "a b");
  EXPECT_EQ(strip_end(" a \n"), " a");
  EXPECT_EQ(strip_start(" a \n"), "a \n");
  EXPECT_EQ(strip(" \u2028"), "");
  EXPECT_EQ(strip("\u200bx"), "\u200bx");  // a zero-width space is none
  EXPECT_EQ(count_words("  one\ttwo\u00a0three \n"), 3u);
  EXPECT_EQ(count_words(""), 0u);
  EXPECT_EQ(count_code_points("caf\u00e9 \U0001f600"), 6u);
}

TEST(Task, AsksArcAndPiqaAQuestion) {
  for (const char* task : {"arc_easy", "arc_challenge", "piqa"})
    EXPECT_EQ(requests_of(task, item_of("Why?", {"a ", "b"})),
              (Strings{"Question: Why?\nAnswer:", " a ", " b"}));
}

TEST(Task, AsksOpenbookqaTheStemAlone) {
  EXPECT_EQ(requests_of("openbookqa", item_of("Predators eat", {"lions", "grass"})),
            (Strings{"Predators eat", " lions", " grass"}));
}

TEST(Task, PutsThePassageBeforeTheQuestion) {
  EXPECT_EQ(requests_of("boolq", item_of("It is\nwet.\nis it wet?", {"no", "yes"})),
            (Strings{"It is\nwet.\nQuestion: is it wet?\nAnswer:", " no", " yes"}));
  EXPECT_EQ(requests_of("sciq", item_of(" Water boils.\nWhat boils?", {"air", "water"})),
            (Strings{"Water boils.\nQuestion: What boils?\nAnswer:", " air", " water"}));
  EXPECT_EQ(requests_of("sciq", item_of("What boils?", {"air", "water"}))[0],
            "Question: What boils?\nAnswer:");
}

TEST(Task, TidiesHellaswag) {
  const TaskItem item =
      item_of("  Sport: A man [header] runs. [title] He  jumps   [cut\n] up", {" sits [x] down", "ok."});
  EXPECT_EQ(requests_of("hellaswag", item),
            (Strings{"Sport: A man runs.. He jumps  [cut\n] up", " sits down", " ok."}));
  EXPECT_EQ(render_item(find_task("hellaswag"), item).texts, (Strings{"sits down", "ok."}));
}

TEST(Task, LettersTheChoicesOfMmluAndCommonsenseqa) {
  TaskItem item = item_of(" What is 1+1? ", {"0", "1", "2", "3"}, 2);
  item.id = "college_mathematics/5";
  EXPECT_EQ(requests_of("mmlu", item),
            (Strings{"What is 1+1?\nA. 0\nB. 1\nC. 2\nD. 3\nAnswer:", " A", " B", " C", " D"}));
  const RenderedItem rendered = render_item(find_task("mmlu"), item);
  EXPECT_EQ(rendered.description,
            "The following are multiple choice questions (with answers) about college mathematics.\n\n");
  EXPECT_EQ(few_shot_prefix(rendered, {rendered}),
            rendered.description + "What is 1+1?\nA. 0\nB. 1\nC. 2\nD. 3\nAnswer: C\n\n");
  EXPECT_EQ(requests_of("commonsense_qa", item_of("Where? ", {"here", "there"})),
            (Strings{"Question: Where?\nA. here\nB. there\nAnswer:", " A", " B"}));
  item.id = "5";
  EXPECT_ERROR(render_item(find_task("mmlu"), item), ErrorCode::kFailed, "\"5\" names no subject");
}

TEST(Task, VariesTheContextOfWinogrande) {
  TaskItem item = item_of("Sarah beat Maria so", {"Sarah won.", "Maria won."}, 1);
  EXPECT_ERROR(render_item(find_task("winogrande"), item), ErrorCode::kFailed, "no \"contexts\"");
  item.contexts = {"Sarah beat Maria so Sarah", "Sarah beat Maria so Maria"};
  item.continuation = "  won. ";
  const RenderedItem rendered = render_item(find_task("winogrande"), item);
  EXPECT_EQ(rendered.requests.at(0).context, "Sarah beat Maria so Sarah");
  EXPECT_EQ(rendered.requests.at(0).continuation, " won.");
  EXPECT_EQ(rendered.answered().context + rendered.answered().continuation, "Sarah beat Maria so Maria won.");
}

TEST(Task, NamesTheNearestOfAnUnknownOne) {
  EXPECT_STREQ(find_task("commonsense_qa").name, "commonsenseqa");
  EXPECT_ERROR(find_task("arc_eazy"), ErrorCode::kUsage, "unknown task 'arc_eazy'",
               "did you mean 'arc_easy'?", "piqa");
  EXPECT_ERROR(find_task("zzzzzzzzzzzzzzzz"), ErrorCode::kUsage, "unknown task", "known: arc_easy");
}

TEST(TaskItems, AreReadWithTheirFields) {
  const ScratchFolder folder;
  const auto path =
      folder.write("arc_easy.test.jsonl",
                   "{\"id\": \"x\", \"query\": \"q\", \"choices\": [\"a\", \"b\", \"c\"], \"gold\": 2}\n\n"
                   "{\"query\": \"r\", \"choices\": [\"a\", \"b\"], \"gold\": 0}");
  EXPECT_EQ(task_file(folder.path(), find_task("arc_easy"), "test"), path);
  const std::vector<TaskItem> items = read_task_items(path);
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].id, "x");
  EXPECT_EQ(items[0].choices, (Strings{"a", "b", "c"}));
  EXPECT_EQ(items[0].gold, 2u);
  EXPECT_EQ(items[1].id, "1");
}

TEST(TaskItems, NameTheLineThatIsNone) {
  const ScratchFolder folder;
  const std::string good = R"({"query": "q", "choices": ["a", "b"], "gold": 1})";
  const auto error = [&](const std::string& line) {
    const auto path = folder.write("t.jsonl", good + "\n\n" + line + "\n");
    const std::string message = error_of([&] { read_task_items(path); });
    EXPECT_TRUE(contains(message, path.string() + ":3: "));
    EXPECT_TRUE(contains(message, "each line must be an object"));
    return message;
  };
  EXPECT_TRUE(contains(error("{"), "not valid JSON"));
  EXPECT_TRUE(contains(error("7"), "holds 7 where an object is wanted"));
  EXPECT_TRUE(contains(error(R"({"query": "q", "choices": ["a", "b"]})"), "has no \"gold\""));
  EXPECT_TRUE(contains(error(R"({"query": "q", "choices": ["a", "b"], "gold": 2})"),
                       "\"gold\" is 2, outside the 2 choices"));
  EXPECT_TRUE(contains(error(R"({"query": "q", "choices": ["a", "b"], "gold": -1})"), "\"gold\" is -1"));
  EXPECT_TRUE(
      contains(error(R"({"query": "q", "choices": ["a", "b"], "gold": "a"})"), "\"gold\" must be the index"));
  EXPECT_TRUE(contains(error(R"({"query": "q", "choices": [], "gold": 0})"), "has 0 choices"));
  EXPECT_TRUE(contains(error(R"({"query": "q", "choices": ["a", 5], "gold": 0})"),
                       "\"choices\" must be an array of strings, not 5"));
  EXPECT_TRUE(contains(error(R"({"query": "q", "gold": 0})"), "has no \"choices\""));
  EXPECT_TRUE(contains(error(R"({"choices": ["a", "b"], "gold": 0})"), "has no \"query\""));
  EXPECT_TRUE(contains(
      error(R"({"query": "q", "choices": ["a", "b"], "gold": 0, "contexts": ["x"], "continuation": "y"})"),
      "1 contexts for 2 choices"));
}

TEST(TaskItems, SayWhichFileIsMissingAndHowItIsMade) {
  const ScratchFolder folder;
  const std::string message = error_of([&] { task_file(folder.path(), find_task("piqa"), "validation"); });
  EXPECT_TRUE(contains(message, "piqa.validation.jsonl: no such file"));
  EXPECT_TRUE(contains(message, "the split \"validation\" of ybisk/piqa"));
  EXPECT_TRUE(contains(error_of([&] { read_task_items(folder.write("e.jsonl", "\n")); }), "holds no item"));
}

// The shared files, where they are: every line is an item of its task, and a few requests as they must read.
TEST(TaskItems, OfTheSharedDataAllRender) {
  if (shared_folder().empty()) GTEST_SKIP() << "FATHOM_SHARED is unset and there is no ../shared beside the checkout";
  const auto folder = shared_folder() / "data" / "eval";
  for (const Task& task : all_tasks()) {
    const std::vector<TaskItem> items = read_task_items(task_file(folder, task, task.split));
    for (const TaskItem& item : items) {
      const RenderedItem rendered = render_item(task, item);
      ASSERT_EQ(rendered.requests.size(), item.choices.size());
      ASSERT_LT(rendered.gold, rendered.requests.size());
    }
  }
}

}  // namespace
}  // namespace fathom
