// fathom prune: what each layer is worth, and checkpoints without some of them.

#include <cmath>
#include <filesystem>
#include <functional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_loading.h"
#include "cli/prune_options.h"
#include "cli/text_input.h"
#include "core/error.h"
#include "core/temporary_path.h"
#include "io/gguf_model.h"
#include "probe/choose_layers.h"
#include "probe/prune.h"
#include "probe/sweep.h"
#include "probe/write_pruned.h"
#include "report/table.h"

namespace fathom::cli {

namespace {

namespace fs = std::filesystem;

// What both --drop and --auto say of the layers that go.
nlohmann::json dropped_json(const PruneOptions& o, const ModelConfig& config,
                            const std::vector<size_t>& layers) {
  const ModelConfig pruned = pruned_config(config, layers);
  return {{"model", o.model},
          {"dropped", layers},
          {"layers", pruned.num_hidden_layers},
          {"layer_index", pruned.norm.layer_index}};
}

void add_price(nlohmann::json& result, const PruneOptions& o, const RemovalPrice& p) {
  result["dtype"] = o.dtype;
  result["tokens"] = p.tokens;
  result["sequences"] = p.sequences;
  result["loss"] = p.loss;
  result["loss_stderr"] = p.loss_stderr;  // a NaN is written as null
  result["perplexity"] = std::exp(p.loss);
  result["removed"] = {price_json(p)};
}

void write_out(const PruneOptions& o, const fs::path& model, const std::vector<size_t>& layers,
               nlohmann::json& result) {
  std::function<void(const fs::path&)> tokenizer;
  if (is_gguf(model)) tokenizer = [&](const fs::path& folder) { load_tokenizer(model).save(folder); };
  const auto progress = make_progress_if_long();
  const WrittenCheckpoint w =
      write_pruned(model, layers, o.out, parse_store(o.store), tokenizer, progress.get());
  const auto parameters = static_cast<double>(parameter_count(parameter_list(w.config)));
  fmt::print("{}: {} layers, {} parameters, {} bytes in {}; read back and compared\n", o.out,
             w.config.num_hidden_layers, count_text(parameters), w.size_bytes,
             w.files == 1 ? "one file" : std::to_string(w.files) + " files");
  if (w.rounding > 0)
    fmt::print("rounding the weights moved logits by up to {:.1e} of the largest\n", w.rounding);
  result["out"] = o.out;
  result["rounding"] = w.rounding;
}

// The result stands in --json's file before the checkpoint is written: what was measured is not lost with it.
void write_both(const PruneOptions& o, const fs::path& model, const std::vector<size_t>& layers,
                nlohmann::json& result) {
  if (!o.out.empty()) {
    if (!path_beside_result(*o.common, "").empty()) write_result(*o.common, result);
    write_out(o, model, layers, result);
  }
  write_result(*o.common, result);
}

// What the removal costs on the given text: printed, and added to the result.
template <class W>
void price(const PruneOptions& o, const std::vector<size_t>& layers, nlohmann::json& result) {
  OpenedModel<W> m = open_model<W>(o.model, granted_memory(o.memory));
  const TokenSequences sequences = read_sequences(o.input, m.folder, m.config);
  const auto progress = make_progress();
  const RemovalPrice p = price_removals(*m.transformer, sequences, {layers}, o.batch, *progress).at(0);
  fmt::print(
      "{} tokens in {} sequences: loss {:.4f} whole, {:.4f} without ({:+.4f} +- {}), perplexity {:.2f} -> "
      "{:.2f}\n",
      p.tokens, p.sequences, p.loss, p.loss_without, p.delta_loss, stderr_text(p.delta_loss_stderr),
      std::exp(p.loss), std::exp(p.loss_without));
  add_price(result, o, p);
}

void drop(const PruneOptions& o) {
  const fs::path folder = resolve_model(o.model);
  const ModelConfig config = read_config(folder);
  const std::vector<size_t> layers = parse_layers(o.drop, config.num_hidden_layers);
  if (!o.out.empty()) require_prunable(folder, o.out, layers, parse_store(o.store));
  nlohmann::json result = dropped_json(o, config, layers);
  if (o.input.given()) with_dtype(parse_dtype(o.dtype), [&]<class W>() { price<W>(o, layers, result); });
  write_both(o, folder, layers, result);
}

void print_choice(const PruneOptions& o, const LayerChoice& choice, const std::vector<RemovalPrice>& prices) {
  const bool runs = choice.order.empty();
  Table table({{"removed"},
               {runs ? "layers" : "layer"},
               {o.by == "angular"     ? "distance"
                : o.by == "influence" ? "influence"
                                      : "added loss"},
               {"loss"},
               {"perplexity"},
               {"delta loss"},
               {"+-"}});
  for (size_t k = 0; k < prices.size(); ++k) {
    const RemovalPrice& p = prices[k];
    table.add_row({std::to_string(k + 1), runs ? layer_list(p.layers) : std::to_string(choice.order[k]),
                   fmt::format("{:.4f}", choice.scores[k]), fmt::format("{:.4f}", p.loss_without),
                   fmt::format("{:.2f}", std::exp(p.loss_without)), fmt::format("{:+.4f}", p.delta_loss),
                   stderr_text(p.delta_loss_stderr)});
  }
  fmt::print("{}", table.text());
  if (runs && choice.by_other_tokens != choice.sets.back()) {
    fmt::print("over {} the run would have been {}\n",
               o.angular_tokens == "last" ? "all tokens" : "the last tokens alone",
               layer_list(choice.by_other_tokens));
  }
  fmt::print("chosen: {}\n", layer_list(choice.sets.back()));
}

nlohmann::json part_json(const TokenSequences& sequences) {
  uint64_t tokens = 0;
  for (const auto& ids : sequences) tokens += ids.size() - 1;
  return {{"sequences", sequences.size()}, {"tokens", tokens}};
}

// Chooses on one half of the text and prices on the other. Returns the layers that go.
template <class W>
std::vector<size_t> choose(const PruneOptions& o, nlohmann::json& result) {
  OpenedModel<W> m = open_model<W>(o.model, granted_memory(o.memory));
  ChooseOptions options{.count = o.choose,
                        .by = parse_choose_by(o.by),
                        .last_token = o.angular_tokens == "last",
                        .batch_size = o.batch};
  if (!o.protect.empty()) options.keep = parse_layers(o.protect, m.config.num_hidden_layers, "--protect");
  const auto [choosing, pricing] = split_text(read_sequences(o.input, m.folder, m.config));
  const auto progress = make_progress();
  const LayerChoice choice = choose_layers(*m.transformer, choosing, options, *progress);
  if (!o.out.empty()) require_prunable(m.folder, o.out, choice.sets.back(), parse_store(o.store));
  const std::vector<RemovalPrice> prices =
      price_removals(*m.transformer, pricing, choice.sets, o.batch, *progress);
  fmt::print(
      "chosen by {} on the first {} sequences; priced on the other {}, {} tokens: loss {:.4f}, "
      "perplexity {:.2f}\n",
      o.by == "angular"
          ? "angular distance over " + std::string(options.last_token ? "last tokens" : "all tokens")
          : o.by,
      choosing.size(), pricing.size(), prices[0].tokens, prices[0].loss, std::exp(prices[0].loss));
  print_choice(o, choice, prices);

  const std::vector<size_t>& layers = choice.sets.back();
  result = dropped_json(o, m.config, layers);
  add_price(result, o, prices.back());
  result["by"] = o.by;
  if (options.by == ChooseBy::kAngular) {
    result["angular_tokens"] = o.angular_tokens;
    result["by_other_tokens"] = choice.by_other_tokens;
  } else {
    result["order"] = choice.order;
  }
  result["protected"] = options.keep;
  result["choosing"] = part_json(choosing);
  result["pricing"] = part_json(pricing);
  result["layer_runs"] = choice.layer_runs;
  for (size_t k = 0; k < prices.size(); ++k) {
    nlohmann::json entry = price_json(prices[k]);
    entry["score"] = choice.scores[k];
    result["curve"].push_back(entry);
  }
  return layers;
}

void choose_and_drop(const PruneOptions& o) {
  const fs::path folder = resolve_model(o.model);
  if (!o.out.empty()) require_prunable(folder, o.out);
  nlohmann::json result;
  const std::vector<size_t> layers =
      with_dtype(parse_dtype(o.dtype), [&]<class W>() { return choose<W>(o, result); });
  write_both(o, folder, layers, result);
}

// Each flag goes with a mode; one that would do nothing is refused.
void check_flags(const PruneOptions& o, const Command& command) {
  const int modes = (o.sweep ? 1 : 0) + (o.drop.empty() ? 0 : 1) + (command.given("--auto") ? 1 : 0);
  if (modes != 1)
    usage_error("give one of --sweep, --drop and --auto",
                "fathom prune MODEL --sweep --text FILE, --drop 21-24 --out DIR, or --auto 4 --text FILE");
  const bool automatic = command.given("--auto");
  command.only_with({"--block", "--what", "--tasks"}, o.sweep, "--sweep");
  command.only_with({"--eval-data", "--split", "--limit", "--num-fewshot", "--batch-tokens"},
                    command.given("--tasks"), "--tasks");
  command.only_with({"--by", "--protect"}, automatic, "--auto");
  command.only_with({"--angular-tokens"}, automatic && o.by == "angular", "--auto K --by angular");
  command.only_with({"--out"}, !o.sweep, "--drop and --auto (--json writes the result of a sweep)");
  command.only_with({"--store"}, !o.out.empty(), "--out");
  command.only_with({"--dtype", "--seq", "--tokens", "--batch", "--memory"},
                    o.drop.empty() || o.input.given(),
                    "--text, --data or --token-ids, which --drop prices the removal on");
  parse_store(o.store);
  if (!o.drop.empty() && o.out.empty() && !o.input.given()) {
    usage_error(
        "--drop needs --out DIR for the pruned checkpoint, or --text FILE to price the removal on, or both");
  }
}

void run(const PruneOptions& o, const Command& command) {
  check_flags(o, command);
  if (o.sweep) {
    run_sweep(o);
  } else if (!o.drop.empty()) {
    drop(o);
  } else {
    choose_and_drop(o);
  }
}

}  // namespace

void add_prune(Command app) {
  auto o = std::make_shared<PruneOptions>();
  Command c = add_command(
      app, "prune", "Measure what each layer is worth, choose layers to cut, write a checkpoint without them",
      "fathom prune runs/lns --sweep --data data\n"
      "  fathom prune model.gguf --sweep --tasks arc_easy,piqa --eval-data eval-data --json sweep.json\n"
      "  fathom prune model.gguf --auto 4 --text book.txt --out pruned\n"
      "  fathom prune runs/lns --drop 21-24,27 --out pruned",
      o->common);
  c.option("MODEL", o->model, "Hugging Face folder, .gguf file or run folder").required();
  c.flag("--sweep", o->sweep,
         "Loss with each layer removed, and the effective depth; or accuracy on --tasks; or both");
  c.option("--block", o->block, "Sweep: remove each run of this many consecutive layers")
      .shows_default()
      .range(1, 4096);
  c.option("--what", o->what, "Sweep: leave out the whole layer, or the contribution of attn or mlp alone")
      .shows_default()
      .one_of({"layer", "attn", "mlp"});
  // A pass runs under many programs: shorter ones take less memory, are saved more often, and are as fast.
  o->tasks.batch_tokens = 512;
  c.option("--tasks", o->tasks.names,
           fmt::format("Sweep: accuracy on these, comma-separated: {}", kTaskNames))
      .comma_list();
  c.option("--eval-data", o->tasks.data, "Folder of <task>.<split>.jsonl, as of `fathom eval --data`");
  add_item_options(c, o->tasks);
  c.option("--auto", o->choose,
           "Choose this many layers, on the first half of the text; price them on the other")
      .range(1, 4096);
  c.option("--by", o->by,
           "Choose greedily by loss, by block influence, or a run of layers by angular distance")
      .shows_default()
      .one_of({"loss", "influence", "angular"});
  c.option("--angular-tokens", o->angular_tokens,
           "Angular distance over all tokens, or the last of each sequence")
      .shows_default()
      .one_of({"all", "last"});
  c.option("--protect", o->protect, "Layers that are never chosen, such as 1,2,30");
  add_text_options(c, o->input);
  c.option("--batch", o->batch, "Sequences at a time").shows_default().range(1, 4096);
  c.option("--memory", o->memory,
           "What the weights may take, such as 4GiB: layers that find no room are read for each batch "
           "(default: 80% of what is available)")
      .byte_size();
  c.option("--dtype", o->dtype, "fp32 or bf16, of the losses").shows_default();
  c.option("--drop", o->drop, "Layers to leave out, 1-based, such as 21-24,27");
  c.option("--out", o->out, "New folder for the pruned checkpoint");
  c.option("--store", o->store,
           "How its weights are stored: as the source's (of a .gguf file: f32), f32, or bf16")
      .shows_default()
      .one_of({"source", "f32", "bf16"});
  c.runs([o, c] {
    apply(*o->common);
    run(*o, c);
  });
}

}  // namespace fathom::cli
