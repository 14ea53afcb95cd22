#pragma once
// What commands that score multiple-choice tasks share: their flags, their items, what an earlier run has
// scored, and how a score is named.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "cli/command.h"
#include "eval/partial.h"
#include "eval/results.h"

namespace fathom::cli {

inline constexpr const char* kTaskNames =
    "arc_easy, arc_challenge, piqa, hellaswag, boolq, winogrande, openbookqa, mmlu, sciq, commonsenseqa";

struct TaskOptions {
  std::vector<std::string> names;
  std::string data;  ///< the folder of <task>.<split>.jsonl
  EvaluationSettings settings;
  size_t batch_tokens = 2048;
};

/// Adds --split, --limit, --num-fewshot and --batch-tokens; --tasks and the folder's flag are the commands'.
void add_item_options(Command command, TaskOptions& options);

/// The tasks by their names. Errors: Error (usage) for an unknown one, or one that is named twice.
std::vector<const Task*> named_tasks(const std::vector<std::string>& names);

/// What can be told before the work. `data_flag` is what the command calls the folder. Errors: Error (usage)
/// for an unknown task, without a folder or with no tokens a pass; Error where a task's file is missing.
void check_tasks(const TaskOptions& options, const char* data_flag);

/// Errors: those of prepare_task.
std::vector<PreparedTask> prepare_tasks(const TaskOptions& options, const Tokenizer& tokenizer,
                                        size_t max_length);

/// The tokens of the largest pack: whole items, `batch_tokens` of them or one.
size_t most_rows(const std::vector<PreparedTask>& tasks, size_t batch_tokens);

/// What an earlier run has scored, beside --json's file; nothing is kept where that is none. `what` tells
/// apart what else the numbers depend on. Errors: those of PartialResults.
PartialResults open_partial(const Common& common, const std::filesystem::path& model,
                            const std::string& dtype, const Tokenizer& tokenizer,
                            const std::vector<PreparedTask>& tasks, const std::string& what = {});

/// task_json with the files that the items came from.
nlohmann::json scored_task_json(const TaskResult& result, const PreparedTask& task,
                                const std::vector<std::vector<double>>& log_likelihoods,
                                const EvaluationSettings& settings);

/// "12.34", in percent; "-" for nothing.
std::string percent(double value);
std::string percent(const std::optional<double>& value);

/// Says so where requests were cut.
void print_truncated(const PreparedTask& task);

}  // namespace fathom::cli
