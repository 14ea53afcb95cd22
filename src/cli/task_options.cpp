#include "cli/task_options.h"

#include <algorithm>

#include <fmt/format.h>
#include <xxhash.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "eval/evaluate.h"
#include "io/checkpoint.h"
#include "io/stored_parameters.h"
#include "kernels/isa.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

// Whether two runs may share their partial results: the model's files, and how they are computed with.
uint64_t fingerprint_of_model(const fs::path& model, const std::string& dtype, uint64_t tokenizer) {
  const std::string all = fmt::format("{} {} {:016x} {}", dtype, isa_name(active_isa()), tokenizer,
                                      model_identity(model, read_config(model)));
  return XXH3_64bits(all.data(), all.size());
}

}  // namespace

void add_item_options(Command command, TaskOptions& options) {
  command.option("--split", options.settings.split, "Score this split instead of each task's own");
  command
      .option("--limit", options.settings.limit,
              "Score the first N items of each task (mmlu: of each subject); 0: all")
      .shows_default();
  command.option("--num-fewshot", options.settings.num_fewshot, "Answered examples in front of each question")
      .shows_default();
  command
      .option("--batch-tokens", options.batch_tokens,
              "Tokens of tasks computed at a time; the result does not depend on it")
      .shows_default();
}

std::vector<const Task*> named_tasks(const std::vector<std::string>& names) {
  std::vector<const Task*> tasks;
  for (const std::string& name : names) {
    tasks.push_back(&find_task(name));
    if (std::count(tasks.begin(), tasks.end(), tasks.back()) > 1)
      usage_error("--tasks names " + name + " twice");
  }
  return tasks;
}

void check_tasks(const TaskOptions& options, const char* data_flag) {
  const std::vector<const Task*> tasks = named_tasks(options.names);
  if (options.batch_tokens == 0) usage_error("--batch-tokens must be 1 or more");
  if (!tasks.empty() && options.data.empty())
    usage_error(std::string(data_flag) + " is missing", "name the folder that holds <task>.<split>.jsonl");
  for (const Task* task : tasks)
    task_file(options.data, *task, options.settings.split.empty() ? task->split : options.settings.split);
}

std::vector<PreparedTask> prepare_tasks(const TaskOptions& options, const Tokenizer& tokenizer,
                                        size_t max_length) {
  std::vector<PreparedTask> prepared;
  for (const Task* task : named_tasks(options.names))
    prepared.push_back(prepare_task(options.data, *task, options.settings, tokenizer, max_length));
  return prepared;
}

size_t most_rows(const std::vector<PreparedTask>& tasks, size_t batch_tokens) {
  size_t most = 0;
  for (const PreparedTask& task : tasks) {
    const auto groups = task.groups();
    for (size_t begin = 0; begin < groups.size();) {
      const GroupRange pack = next_pack(groups, begin, batch_tokens);
      most = std::max(most, pack.rows);
      begin = pack.end;
    }
  }
  return most;
}

PartialResults open_partial(const Common& common, const fs::path& model, const std::string& dtype,
                            const Tokenizer& tokenizer, const std::vector<PreparedTask>& tasks,
                            const std::string& what) {
  const fs::path path = path_beside_result(common, ".partial");
  if (path.empty()) return {{}, {}};
  uint64_t fingerprint = fingerprint_of_model(model, dtype, tokenizer.fingerprint());
  for (const PreparedTask& task : tasks) fingerprint = fingerprint * 31 + fingerprint_of(task);
  if (!what.empty()) fingerprint = fingerprint * 31 + XXH3_64bits(what.data(), what.size());
  return {path, fingerprint_text(fingerprint)};
}

nlohmann::json scored_task_json(const TaskResult& result, const PreparedTask& task,
                                const std::vector<std::vector<double>>& log_likelihoods,
                                const EvaluationSettings& settings) {
  nlohmann::json json = task_json(result, task, log_likelihoods);
  json["file"] = task.file.filename().string();
  json["num_fewshot"] = settings.num_fewshot;
  if (!task.few_shot_file.empty()) json["fewshot_file"] = task.few_shot_file.filename().string();
  return json;
}

std::string percent(double value) { return fmt::format("{:.2f}", 100 * value); }
std::string percent(const std::optional<double>& value) { return value ? percent(*value) : "-"; }

void print_truncated(const PreparedTask& task) {
  if (task.truncated == 0) return;
  fmt::print("{}: {} requests are longer than the model's context and lost tokens at their start\n",
             task.task->name, task.truncated);
}

}  // namespace fathom::cli
