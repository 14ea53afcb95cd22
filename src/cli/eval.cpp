// fathom eval: scores on multiple-choice tasks as lm-evaluation-harness has them, and perplexity of a text.

#include <algorithm>
#include <chrono>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_loading.h"
#include "cli/stderr_text.h"
#include "cli/task_options.h"
#include "core/error.h"
#include "core/log.h"
#include "eval/evaluate.h"
#include "eval/perplexity.h"
#include "kernels/cross_entropy.h"
#include "report/table.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kPerplexity = "perplexity";

struct Options {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::string model, dtype = "fp32", convention = "hf";
  std::vector<std::string> names, text;  // of tasks, perplexity among them
  TaskOptions tasks;
  PerplexitySettings perplexity;
  bool wants_perplexity = false;
  uint64_t tokens = 0, memory = 0;
};

void check(const Options& o, const Command& command) {
  command.only_with({"--text", "--tokens", "--convention", "--seq", "--stride"}, o.wants_perplexity,
                    "the task perplexity alone; add it to --tasks");
  command.only_with({"--data", "--split", "--limit", "--num-fewshot"}, !o.tasks.names.empty(),
                    "tasks of items, such as arc_easy; add one to --tasks");
  check_tasks(o.tasks, "--data");
  if (o.wants_perplexity && o.text.empty()) usage_error("perplexity needs --text");
}

void add_rows(Table& table, const TaskResult& r) {
  const auto row = [&](const std::string& name, size_t items, const std::string& metric, const Metric& m,
                       bool first) {
    const Baselines& b = r.baselines;
    table.add_row({name, std::to_string(items), metric, percent(m.value), percent(m.standard_error),
                   first ? percent(b.chance) : "", first ? percent(b.constant[b.majority]) : "",
                   first ? percent(b.constant[0]) : ""});
  };
  row(r.task, r.items, "acc", r.acc, true);
  if (r.acc_norm) row("", r.items, "acc_norm", *r.acc_norm, false);
  if (r.acc_bytes) row("", r.items, "acc_bytes", *r.acc_bytes, false);
  for (const GroupResult& group : r.groups) row("  " + group.name, group.items, "acc", group.acc, false);
}

void print_warnings(const TaskResult& r, const PreparedTask& task) {
  print_truncated(task);
  if (r.not_finite > 0)
    fmt::print("{}: {} items have a log-likelihood that is not finite\n", r.task, r.not_finite);
  if (r.tied > 0)
    fmt::print("{}: {} items have the same log-likelihood for all choices; the first counts\n", r.task,
               r.tied);
  if (!r.acc_flag.empty()) fmt::print("{}: acc {}\n", r.task, r.acc_flag);
  if (!r.acc_norm_flag.empty()) fmt::print("{}: acc_norm {}\n", r.task, r.acc_norm_flag);
}

void print_perplexity(const PerplexityResult& r) {
  fmt::print(
      "perplexity ({}): {} tokens scored in {} windows\n"
      "  loss {:.4f} +- {} nats a token, token perplexity {:.4f} +- {} (over {})\n"
      "  word perplexity {:.4f}, byte perplexity {:.4f}, {:.4f} bits a byte\n",
      convention_text(r.settings), r.tokens, r.windows, r.loss, stderr_text(r.loss_stderr),
      r.token_perplexity(), stderr_text(r.token_perplexity() * r.loss_stderr),
      r.settings.convention == PerplexitySettings::Convention::kLlamaCpp ? "tokens" : "windows",
      r.word_perplexity(), r.byte_perplexity(), r.bits_per_byte());
}

// Scores the tasks and returns their results as JSON; prints a table.
template <class W>
nlohmann::json run_tasks(const Options& o, const std::vector<PreparedTask>& tasks, OpenedModel<W>& m,
                         PartialResults& partial, Progress& progress, ScoringWork& work, size_t& items) {
  const size_t before = partial.items();
  if (before > 0) log_info(fmt::format("going on after {} items that an earlier run has scored", before));
  const Program<Stream<W>> program = whole_program<Stream<W>>(m.config.num_hidden_layers);
  nlohmann::json list = nlohmann::json::array();
  Table table({{"task", Align::kLeft},
               {"n"},
               {"metric", Align::kLeft},
               {"score"},
               {"+-"},
               {"chance"},
               {"majority"},
               {"always first"}});
  std::vector<TaskResult> results;
  for (const PreparedTask& task : tasks) {
    std::vector<std::vector<double>>& values = partial.of(task.task->name);
    const size_t done = values.size();
    const ScoringWork w = score_task<W>(*m.transformer, program, task, o.tasks.batch_tokens, values, progress,
                                        [&] { partial.save_if_due(); });
    partial.save();
    work.rows += w.rows;
    work.scored += w.scored;
    items += values.size() - done;
    results.push_back(summarize(task, values));
    list.push_back(scored_task_json(results.back(), task, values, o.tasks.settings));
    add_rows(table, results.back());
  }
  if (!tasks.empty()) fmt::print("{}", table.text());
  for (size_t i = 0; i < tasks.size(); ++i) print_warnings(results[i], tasks[i]);
  return list;
}

// What is granted, less what a pack of tokens takes on its way.
template <class W>
size_t memory_of_weights(const Options& o, const ModelConfig& config, const std::vector<PreparedTask>& tasks,
                         size_t window) {
  using S = Stream<W>;
  const size_t C = config.hidden_size, budget = granted_memory(o.memory);
  const size_t rows =
      std::max(most_rows(tasks, o.tasks.batch_tokens), window > 0 ? window + o.tasks.batch_tokens : 0);
  const size_t taken = rows * C * sizeof(S) + Transformer<W>::inference_bytes(config, rows) +
                       kHeadChunkRows * (C + config.vocab_size) * sizeof(S);
  const size_t least = StreamedWeights<W>::least_bytes(config);
  if (o.memory > 0 && least + taken > budget) {
    usage_error(fmt::format("--memory {} is too little: two layers or the head take {}, {} tokens {}",
                            bytes_text(static_cast<double>(o.memory)), bytes_text(static_cast<double>(least)),
                            rows, bytes_text(static_cast<double>(taken))),
                "a smaller --batch-tokens takes less");
  }
  return budget > taken ? budget - taken : 0;
}

template <class W>
void run(const Options& o) {
  const fs::path folder = resolve_model(o.model);
  const ModelConfig config = read_config(folder);
  const Tokenizer tokenizer = load_tokenizer(folder);
  const PerplexitySettings perplexity = resolve(o.perplexity, config.max_position_embeddings);
  const std::vector<PreparedTask> tasks = prepare_tasks(o.tasks, tokenizer, config.max_position_embeddings);
  JoinedText text;
  if (o.wants_perplexity) {
    text = join_documents(tokenizer, {o.text.begin(), o.text.end()}, o.tokens);
    perplexity_windows(tokenizer, text.ids, perplexity);  // whether it is long enough
  }
  PartialResults partial = open_partial(*o.common, folder, o.dtype, tokenizer, tasks);
  OpenedModel<W> m = open_model<W>(
      o.model, memory_of_weights<W>(o, config, tasks, o.wants_perplexity ? perplexity.window : 0));
  read_ahead(m);
  const auto progress = make_progress();
  const auto start = Clock::now();
  ScoringWork work;
  size_t items = 0;
  nlohmann::json json{{"model", o.model}, {"dtype", o.dtype}};
  json["tasks"] = run_tasks<W>(o, tasks, m, partial, *progress, work, items);
  if (o.wants_perplexity) {
    const PerplexityResult result =
        measure_perplexity<W>(*m.transformer, tokenizer, text, perplexity, o.tasks.batch_tokens, *progress);
    print_perplexity(result);
    work.rows += result.work.rows;
    work.scored += result.work.scored;
    json["tasks"].push_back(perplexity_json(result));
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const double token_rate = static_cast<double>(work.rows) / seconds,
               item_rate = static_cast<double>(items) / seconds;
  fmt::print(
      "{} items in {}: {:.2f} items/s; {} tokens through the layers ({}/s; shared contexts once), {} "
      "scored\n",
      items, seconds_text(seconds), item_rate, count_text(static_cast<double>(work.rows)),
      count_text(token_rate), count_text(static_cast<double>(work.scored)));
  json["speed"] = {{"seconds", seconds},
                   {"items", items},
                   {"items_per_second", item_rate},
                   {"tokens", work.rows},
                   {"tokens_per_second", token_rate},
                   {"scored_tokens", work.scored}};
  write_result(*o.common, json);
  partial.remove();
}

}  // namespace

void add_eval(Command app) {
  auto o = std::make_shared<Options>();
  Command c = add_command(app, "eval", "Score a model on multiple-choice tasks, or measure its perplexity",
                          "fathom eval model.gguf --tasks arc_easy,piqa --data eval-data --json scores.json\n"
                          "  fathom eval model.gguf --tasks perplexity --text book.txt --stride 512",
                          o->common);
  c.option("MODEL", o->model, "Hugging Face folder, .gguf file or run folder").required();
  c.option("--tasks", o->names, fmt::format("Comma-separated: {}; perplexity (of --text)", kTaskNames))
      .required()
      .comma_list();
  c.option("--data", o->tasks.data, "Folder of <task>.<split>.jsonl");
  add_item_options(c, o->tasks);
  c.option("--text", o->text, "Text for perplexity: what `fathom data` reads");
  c.option("--tokens", o->tokens, "Stop reading --text after about this many tokens (0: all)")
      .shows_default();
  c.option("--convention", o->convention, "Of perplexity: hf (strided windows) or llama.cpp").shows_default();
  c.option("--seq", o->perplexity.window,
           "Tokens of a window of perplexity (default: the model's context, at most 1024; llama.cpp: 512)");
  c.option("--stride", o->perplexity.stride,
           "Tokens between the starts of two windows (default: half a window)");
  c.option("--dtype", o->dtype, "fp32 or bf16").shows_default();
  c.option("--memory", o->memory,
           "What it may take, such as 4GiB: layers that find no room are read for each pack of tokens "
           "(default: 80% of what is available)")
      .byte_size();
  c.runs([o, c] {
    apply(*o->common);
    o->tasks.names = o->names;
    o->wants_perplexity = std::erase(o->tasks.names, kPerplexity) > 0;
    check(*o, c);
    o->perplexity.convention = parse_convention(o->convention);
    with_dtype(parse_dtype(o->dtype), [&]<class W>() { run<W>(*o); });
  });
}

}  // namespace fathom::cli
