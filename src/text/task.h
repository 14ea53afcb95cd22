#pragma once
// Multiple-choice tasks as text: which there are, items out of JSON lines, and the requests that an item
// becomes. A request is a context and a continuation; a model is asked how likely the one follows the other.
//
// Goals: the strings that lm-evaluation-harness makes of the same items, byte for byte, so that scores can be
// compared; one place for evaluation and for fine-tuning on the same questions. Non-goals: tokens and scores
// (eval/), downloading data sets.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// One question. Files hold one a line: {"id", "query", "choices": [...], "gold"}; winogrande's also have
/// "contexts" and "continuation".
struct TaskItem {
  std::string id;  ///< its line's number, counted from 0, where the file gives none
  std::string query;
  std::vector<std::string> choices;   ///< two or more
  size_t gold = 0;                    ///< index of the right one
  std::vector<std::string> contexts;  ///< partial evaluation: one context a choice, or empty
  std::string continuation;           ///< partial evaluation: what follows each of the contexts
};

/// How a task asks, and how its answers are counted.
struct Task {
  /// Context and continuations.
  enum class Form {
    kQuestion,         ///< "Question: {query}\nAnswer:", each choice
    kPassage,          ///< the query's last line as the question, what stands before it in front; each choice
    kPlain,            ///< the query itself, each choice
    kActivity,         ///< the query itself, each choice; both tidied as hellaswag's are
    kLetters,          ///< the query, lines "A. {choice}" ..., "Answer:"; each letter
    kLettersQuestion,  ///< the same with "Question: " in front
    kPartial,          ///< each of the contexts; the one continuation
  };
  const char* name = nullptr;
  const char* alias = nullptr;  ///< another name
  Form form = Form::kQuestion;
  const char* split = nullptr;           ///< of the file that is scored
  const char* few_shot_split = nullptr;  ///< where examples come from, if that file is there
  bool spare_draw = false;  ///< the harness draws one example more than it uses: its task names no test split
  bool first_shots = false;      ///< examples are the first of their file (of the same subject), not drawn
  bool has_acc_norm = false;     ///< whether the harness reports acc_norm
  bool has_subjects = false;     ///< ids are "subject/row"; examples and --limit go by subject
  const char* source = nullptr;  ///< the data set that the file is made from
};

/// All tasks, and their names (with aliases).
const std::vector<Task>& all_tasks();
std::vector<std::string> task_names();
/// The task of this name or alias. Errors: Error (usage) for another, with the nearest.
const Task& find_task(const std::string& name);

/// <folder>/<task>.<split>.jsonl. Errors: Error where it is missing, which says how it is made.
std::filesystem::path task_file(const std::filesystem::path& folder, const Task& task,
                                const std::string& split);

/// One item out of a line of JSON; `row` (0-based) names it where it has no id. Errors: Error without a path
/// that says what is wrong with it.
TaskItem parse_task_item(std::string_view json_line, size_t row);

/// The items of a file; blank lines are skipped. Errors: Error (file, line) where a line is no item or the
/// file has none.
std::vector<TaskItem> read_task_items(const std::filesystem::path& path);

struct TaskRequest {
  std::string context, continuation;
};

/// An item as the model is asked it.
struct RenderedItem {
  std::string description;            ///< stands once in front of everything, examples included; often empty
  std::vector<TaskRequest> requests;  ///< one a choice
  std::vector<std::string> texts;     ///< of the choices: what acc_norm takes the length of
  size_t gold = 0;

  /// The item answered: what an example of few-shot prompts holds, and what fine-tuning trains on (context:
  /// the prompt; continuation: the response).
  const TaskRequest& answered() const { return requests[gold]; }
};

/// Errors: Error without a path where the item lacks what the task needs (contexts; a subject).
RenderedItem render_item(const Task& task, const TaskItem& item);

/// "abstract_algebra" of "abstract_algebra/17"; "" where there is no slash.
std::string subject_of(const TaskItem& item);

/// What stands in front of an item's contexts: its description, and each example answered, with an empty line
/// behind it.
std::string few_shot_prefix(const RenderedItem& item, const std::vector<RenderedItem>& examples);

}  // namespace fathom
