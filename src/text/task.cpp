#include "text/task.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/file.h"
#include "text/json_fields.h"
#include "text/text_error.h"
#include "text/white_space.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using Form = Task::Form;

const char* const kItemHint =
    R"(each line must be an object such as {"query": "...", "choices": ["...", "..."], "gold": 0})";

std::string lettered(const std::string& first_line, const std::vector<std::string>& choices) {
  std::string text = first_line;
  for (size_t i = 0; i < choices.size(); ++i)
    text += std::string("\n") + static_cast<char>('A' + i) + ". " + choices[i];
  return text + "\nAnswer:";
}

// The last line of the query is the question (sciq, boolq); what is before it is the passage, if any.
std::string passage_and_question(const std::string& query) {
  const size_t feed = query.rfind('\n');
  const std::string question =
      "Question: " + (feed == std::string::npos ? query : query.substr(feed + 1)) + "\nAnswer:";
  if (feed == std::string::npos) return question;
  return std::string(strip_start(std::string_view(query).substr(0, feed))) + "\n" + question;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

// What the harness does to hellaswag's texts. Texts that have been through it once stay as they are, but for
// brackets that are the writer's own and runs of spaces.
std::string tidied(const std::string& raw) {
  std::string text(strip(raw));
  replace_all(text, " [title]", ". ");
  for (size_t open = 0; (open = text.find('[', open)) != std::string::npos;) {
    const size_t close = text.find(']', open), feed = text.find('\n', open);
    if (close == std::string::npos || feed < close)
      ++open;  // no bracket of this line closes it
    else
      text.erase(open, close - open + 1);
  }
  replace_all(text, "  ", " ");
  return text;
}

std::string context_of(const Task& task, const TaskItem& item) {
  switch (task.form) {
    case Form::kQuestion:
      return "Question: " + item.query + "\nAnswer:";
    case Form::kPassage:
      return passage_and_question(item.query);
    case Form::kPlain:
      return item.query;
    case Form::kActivity:
      return tidied(item.query);
    case Form::kLetters:
      return lettered(std::string(strip(item.query)), item.choices);
    case Form::kLettersQuestion:
      return lettered("Question: " + std::string(strip(item.query)), item.choices);
    case Form::kPartial:
      break;
  }
  return {};
}

std::vector<std::string> texts_of(const Task& task, const TaskItem& item) {
  std::vector<std::string> texts = item.choices;
  if (task.form == Form::kActivity) std::transform(texts.begin(), texts.end(), texts.begin(), tidied);
  if (task.form == Form::kLetters || task.form == Form::kLettersQuestion) {
    if (texts.size() > 26)
      fail("has " + std::to_string(texts.size()) + " choices, more than there are letters");
    for (size_t i = 0; i < texts.size(); ++i) texts[i] = std::string(1, static_cast<char>('A' + i));
  }
  return texts;
}

std::vector<std::string> strings_field(const Json& object, const char* key) {
  std::vector<std::string> strings;
  for (const Json& value : array_field(object, key)) {
    if (!value.is_string()) fail_field(key, "an array of strings", value);
    strings.push_back(value.get<std::string>());
  }
  return strings;
}

}  // namespace

const std::vector<Task>& all_tasks() {
  static const std::vector<Task> tasks = {
      {.name = "arc_easy",
       .form = Form::kQuestion,
       .split = "test",
       .few_shot_split = "train",
       .has_acc_norm = true,
       .source = "allenai/ai2_arc, ARC-Easy"},
      {.name = "arc_challenge",
       .form = Form::kQuestion,
       .split = "test",
       .few_shot_split = "train",
       .has_acc_norm = true,
       .source = "allenai/ai2_arc, ARC-Challenge"},
      {.name = "piqa",
       .form = Form::kQuestion,
       .split = "validation",
       .few_shot_split = "train",
       .spare_draw = true,
       .has_acc_norm = true,
       .source = "ybisk/piqa"},
      {.name = "hellaswag",
       .form = Form::kActivity,
       .split = "validation",
       .few_shot_split = "train",
       .spare_draw = true,
       .has_acc_norm = true,
       .source = "Rowan/hellaswag"},
      {.name = "boolq",
       .form = Form::kPassage,
       .split = "validation",
       .few_shot_split = "train",
       .spare_draw = true,
       .source = "google/boolq"},
      {.name = "winogrande",
       .form = Form::kPartial,
       .split = "validation",
       .few_shot_split = "train",
       .spare_draw = true,
       .source = "allenai/winogrande, winogrande_xl"},
      {.name = "openbookqa",
       .form = Form::kPlain,
       .split = "test",
       .few_shot_split = "train",
       .has_acc_norm = true,
       .source = "allenai/openbookqa, main"},
      {.name = "mmlu",
       .form = Form::kLetters,
       .split = "test",
       .few_shot_split = "dev",
       .first_shots = true,
       .has_subjects = true,
       .source = "hails/mmlu_no_train"},
      {.name = "sciq",
       .form = Form::kPassage,
       .split = "validation",
       .few_shot_split = "train",
       .has_acc_norm = true,
       .source = "allenai/sciq"},
      {.name = "commonsenseqa",
       .alias = "commonsense_qa",
       .form = Form::kLettersQuestion,
       .split = "validation",
       .few_shot_split = "train",
       .spare_draw = true,
       .source = "tau/commonsense_qa"},
  };
  return tasks;
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const Task& task : all_tasks()) {
    names.emplace_back(task.name);
    if (task.alias != nullptr) names.emplace_back(task.alias);
  }
  return names;
}

const Task& find_task(const std::string& name) {
  for (const Task& task : all_tasks()) {
    if (name == task.name || (task.alias != nullptr && name == task.alias)) return task;
  }
  std::string known;
  for (const Task& task : all_tasks()) known += (known.empty() ? "" : ", ") + std::string(task.name);
  const std::string near = nearest(name, task_names());
  usage_error("unknown task '" + name + "'" + (near.empty() ? "" : "; did you mean '" + near + "'?"),
              "known: " + known);
}

fs::path task_file(const fs::path& folder, const Task& task, const std::string& split) {
  const fs::path path = folder / (std::string(task.name) + "." + split + ".jsonl");
  if (fs::exists(path)) return path;
  fail_in(path, "no such file",
          "make it from the split \"" + split + "\" of " + task.source + ": scripts/make-eval-data.py " +
              task.name + " FILE" + (split == task.split ? "" : " --split " + split) +
              "; docs/evaluation.md says what a line holds");
}

TaskItem parse_task_item(std::string_view json_line, size_t row) {
  Json json;
  try {
    json = Json::parse(json_line);
  } catch (const Json::exception& e) {
    fail("not valid JSON: " + json_reason(e.what()));
  }
  TaskItem item;
  item.query = string_field(json, "query");
  item.choices = strings_field(json, "choices");
  if (item.choices.size() < 2)
    fail("has " + std::to_string(item.choices.size()) + " choices where two are the least");
  const Json& gold = required(json, "gold");
  if (!gold.is_number_integer()) fail_field("gold", "the index of the right choice", gold);
  if (gold < 0 || gold >= item.choices.size())
    fail("\"gold\" is " + brief(gold) + ", outside the " + std::to_string(item.choices.size()) +
         " choices, which are counted from 0");
  item.gold = gold.get<size_t>();
  const Json* const id = field(json, "id");
  item.id = id == nullptr ? std::to_string(row) : id->is_string() ? id->get<std::string>() : brief(*id);
  if (field(json, "contexts") != nullptr) {
    item.contexts = strings_field(json, "contexts");
    item.continuation = string_field(json, "continuation");
    if (item.contexts.size() != item.choices.size())
      fail("has " + std::to_string(item.contexts.size()) + " contexts for " +
           std::to_string(item.choices.size()) + " choices");
  }
  return item;
}

std::vector<TaskItem> read_task_items(const fs::path& path) {
  const std::string text = read_text_file(path, size_t{1} << 30);
  std::vector<TaskItem> items;
  uint64_t line_number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    try {
      items.push_back(parse_task_item(line, items.size()));
    } catch (const Error& e) {
      fail_in(path, e.fields().what, kItemHint, line_number);
    }
  }
  if (items.empty()) fail_in(path, "holds no item", kItemHint);
  return items;
}

std::string subject_of(const TaskItem& item) {
  const size_t slash = item.id.find('/');
  return slash == std::string::npos ? std::string() : item.id.substr(0, slash);
}

RenderedItem render_item(const Task& task, const TaskItem& item) {
  RenderedItem rendered;
  rendered.gold = item.gold;
  rendered.texts = texts_of(task, item);
  if (task.has_subjects) {
    std::string subject = subject_of(item);
    if (subject.empty()) fail("the id \"" + item.id + "\" names no subject, as \"abstract_algebra/0\" does");
    std::replace(subject.begin(), subject.end(), '_', ' ');
    rendered.description =
        "The following are multiple choice questions (with answers) about " + subject + ".\n\n";
  }
  if (task.form == Form::kPartial) {
    if (item.contexts.empty())
      fail("has no \"contexts\" and \"continuation\", which " + std::string(task.name) + " scores");
    const std::string continuation = " " + std::string(strip(item.continuation));
    for (const std::string& context : item.contexts) rendered.requests.push_back({context, continuation});
    return rendered;
  }
  const std::string context = context_of(task, item);
  for (const std::string& text : rendered.texts) rendered.requests.push_back({context, " " + text});
  return rendered;
}

std::string few_shot_prefix(const RenderedItem& item, const std::vector<RenderedItem>& examples) {
  std::string prefix = item.description;
  for (const RenderedItem& example : examples)
    prefix += example.answered().context + example.answered().continuation + "\n\n";
  return prefix;
}

}  // namespace fathom
