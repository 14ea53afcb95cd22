// fathom prune --sweep: what each layer, each run of layers or each sublayer is worth, to the loss on a text
// and to the accuracy on tasks.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/model_loading.h"
#include "cli/probe_results.h"
#include "cli/prune_options.h"
#include "cli/task_sweep.h"
#include "core/error.h"
#include "core/file.h"
#include "core/log.h"
#include "kernels/cross_entropy.h"
#include "probe/sweep.h"
#include "report/table.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

// "7", "7-9", and what the layers were in the model as it was trained.
std::string removal_name(const SweptRemoval& swept) {
  const std::string name = layer_list(swept.layers);
  return swept.original == swept.layers ? name : name + fmt::format(" (was {})", layer_list(swept.original));
}

void print_part(const SweepOptions& options) {
  if (options.what != Removed::kLayer)
    fmt::print("left out: the {} contribution\n",
               options.what == Removed::kAttention ? "attention's" : "MLP's");
}

void print_losses(const SweepResult& r) {
  Table table({{r.options.block == 1 ? "layer" : "layers"},
               {"loss without"},
               {"perplexity"},
               {"delta loss"},
               {"+-"}});
  for (const SweptRemoval& swept : r.removed) {
    if (!std::isfinite(swept.delta_loss)) {
      table.add_row({removal_name(swept), "not finite", "-", "-", "-"});
      continue;
    }
    table.add_row({removal_name(swept), fmt::format("{:.4f}", swept.loss),
                   fmt::format("{:.2f}", std::exp(swept.loss)), fmt::format("{:+.4f}", swept.delta_loss),
                   stderr_text(swept.delta_loss_stderr)});
  }
  fmt::print("{} tokens in {} sequences: loss {:.4f}, perplexity {:.2f}\n", r.tokens, r.sequences, r.loss,
             std::exp(r.loss));
  print_part(r.options);
  fmt::print("{}", table.text());
  if (r.options.block > 1 || r.options.what != Removed::kLayer) return;
  if (r.effective_depth && !std::isfinite(*r.effective_depth)) {
    fmt::print("effective depth: not measured: a loss without a layer is not finite\n");
  } else if (r.effective_depth) {
    fmt::print("effective depth {:.2f} of {} layers ({:.0f}%)\n", *r.effective_depth, r.removed.size(),
               100 * *r.effective_depth_ratio);
  } else {
    fmt::print("effective depth: none; no removal hurts\n");
  }
}

// What the tasks' part of a sweep runs on.
struct TaskPlan {
  std::vector<PreparedTask> tasks;
  std::vector<Removal> removals;
  size_t batch_tokens = 0;
  size_t weights_memory = 0;  ///< what the streams leave
};

// The streams of a pack, one a removal, come first, since the pack can be made smaller; the weights get the
// rest. A pack takes whole items, so that it can't be made smaller than the largest of them.
template <class W>
void share_memory(const PruneOptions& o, const ModelConfig& config, TaskPlan& plan) {
  using S = Stream<W>;
  const size_t budget = granted_memory(o.memory), least = StreamedWeights<W>::least_bytes(config);
  const size_t C = config.hidden_size, streams = 1 + plan.removals.size();
  const auto bytes = [&](size_t tokens) {
    const size_t rows = most_rows(plan.tasks, tokens);
    return streams * rows * C * sizeof(S) + Transformer<W>::inference_bytes(config, rows) +
           kHeadChunkRows * (C + config.vocab_size) * sizeof(S);
  };
  plan.batch_tokens = o.tasks.batch_tokens;
  size_t taken = bytes(plan.batch_tokens);
  while (least + taken > budget && plan.batch_tokens > 1) taken = bytes(plan.batch_tokens /= 2);
  if (o.memory > 0 && least + taken > budget) {
    usage_error(
        fmt::format("--memory {} is too little: two layers or the head take {}, the largest item of "
                    "the tasks without each of {} removals {}",
                    bytes_text(static_cast<double>(o.memory)), bytes_text(static_cast<double>(least)),
                    plan.removals.size(), bytes_text(static_cast<double>(taken))));
  }
  plan.weights_memory = budget > taken ? budget - taken : 0;
}

template <class W>
TaskPlan plan_tasks(const PruneOptions& o, const fs::path& folder, const ModelConfig& config,
                    const SweepOptions& options) {
  TaskPlan plan;
  plan.weights_memory = granted_memory(o.memory);
  if (o.tasks.names.empty()) return plan;
  plan.tasks = prepare_tasks(o.tasks, load_tokenizer(folder), config.max_position_embeddings);
  plan.removals = every_run(config.num_hidden_layers, options.block, options.what);
  share_memory<W>(o, config, plan);
  return plan;
}

// Adds to the sweep's JSON what the tasks say: of the whole model, and of each removal.
template <class W>
void sweep_tasks(const PruneOptions& o, const TaskPlan& plan, const SweepResult& result, OpenedModel<W>& m,
                 Progress& progress, nlohmann::json& json) {
  using S = Stream<W>;
  const size_t L = m.config.num_hidden_layers;
  const Program<S> program = whole_program<S>(L);
  const std::vector<ProgramVariant<S>> variants = removal_variants<S>(L, plan.removals);
  std::vector<std::string> names;
  for (const SweptRemoval& swept : result.removed) names.push_back(removal_name(swept));
  PartialResults partial = open_partial(*o.common, m.folder, o.dtype, load_tokenizer(m.folder), plan.tasks,
                                        fmt::format("sweep {} {}", o.what, o.block));
  if (partial.items() > 0)
    log_info(fmt::format("going on after {} items that an earlier run has scored", partial.items()));
  const auto start = std::chrono::steady_clock::now();
  uint64_t rows = 0;
  size_t items = 0;
  for (const PreparedTask& task : plan.tasks) {
    std::vector<std::vector<double>>& values = partial.of(task.task->name);
    const size_t done = values.size();
    rows += score_task<W>(
                *m.transformer, program, task, plan.batch_tokens, values, progress,
                [&] { partial.save_if_due(); }, variants)
                .rows;
    items += values.size() - done;
    partial.save();
    const SweptTask swept = summarize_sweep(task, values);
    print_truncated(task);
    print_part(result.options);
    fmt::print("{}", swept_task_text(swept, names));
    json["tasks"].push_back(scored_task_json(swept.whole, task, swept.log_likelihoods, o.tasks.settings));
    for (size_t i = 0; i < swept.removed.size(); ++i)
      json["removed"][i]["tasks"].push_back(swept_score_json(swept.removed[i]));
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print(
      "{} items under {} programs in {}: {:.2f} items/s; changes are in points of accuracy, +- is their "
      "paired standard error, p McNemar's\n",
      items, 1 + variants.size(), seconds_text(seconds), static_cast<double>(items) / seconds);
  json["speed"] = {{"seconds", seconds},
                   {"items", items},
                   {"items_per_second", static_cast<double>(items) / seconds},
                   {"tokens", rows}};
  write_result(*o.common, json);
  partial.remove();
}

template <class W>
void sweep(const PruneOptions& o) {
  const SweepOptions options{o.block, parse_removed(o.what), o.batch};
  const fs::path folder = resolve_model(o.model);
  const ModelConfig config = read_config(folder);
  SweepResult result = planned_sweep(layer_plans(config.norm, config.num_hidden_layers), options);
  const bool with_text = o.input.given() || o.tasks.names.empty();
  TokenSequences sequences;
  if (with_text) sequences = read_sequences(o.input, folder, config);
  const TaskPlan plan = plan_tasks<W>(o, folder, config, options);
  OpenedModel<W> m = open_model<W>(o.model, plan.weights_memory);
  const auto progress = make_progress();
  if (with_text) {
    result = sweep_layers(*m.transformer, sequences, options, *progress);
    print_losses(result);
  }
  nlohmann::json json = sweep_json(result);
  json["model"] = o.model;
  json["checkpoint"] = m.folder.string();  // of a run, which goes on
  json["dtype"] = o.dtype;
  if (plan.tasks.empty())
    write_result(*o.common, json);
  else
    sweep_tasks<W>(o, plan, result, m, *progress, json);
  // A run folder keeps its sweep of single layers, for `fathom compare` and `fathom probe --html`. One of
  // tasks alone would take the losses away that are there.
  if (with_text && options.block == 1 && options.what == Removed::kLayer &&
      fs::is_directory(fs::path(o.model) / "checkpoints"))
    keep_in_run(fs::path(o.model) / "sweep.json", json);
}

}  // namespace

void run_sweep(const PruneOptions& o) {
  if (std::find(o.tasks.names.begin(), o.tasks.names.end(), "perplexity") != o.tasks.names.end())
    usage_error("a sweep's perplexity is that of --text", "take perplexity off --tasks");
  if (!o.tasks.names.empty()) check_tasks(o.tasks, "--eval-data");
  with_dtype(parse_dtype(o.dtype), [&]<class W>() { sweep<W>(o); });
}

}  // namespace fathom::cli
