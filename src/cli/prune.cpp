// fathom prune: what each layer is worth, and checkpoints without some of them.

#include <cmath>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_loading.h"
#include "cli/text_input.h"
#include "core/error.h"
#include "core/file.h"
#include "io/gguf_model.h"
#include "probe/prune.h"
#include "probe/sweep.h"
#include "report/table.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::string model, drop, out, dtype = "fp32";
  bool sweep = false;
  TextInput input;
  size_t batch = 8;
};

void print_sweep(const SweepResult& r) {
  Table table({{"layer"}, {"loss without"}, {"perplexity"}, {"delta loss"}, {"+-"}});
  for (const RemovedLayer& layer : r.removed) {
    const std::string name = layer.original == layer.layer
                                 ? std::to_string(layer.layer)
                                 : fmt::format("{} (was {})", layer.layer, layer.original);
    table.add_row(
        {name, fmt::format("{:.4f}", layer.loss), fmt::format("{:.2f}", std::exp(layer.loss)),
         fmt::format("{:+.4f}", layer.delta_loss),
         std::isfinite(layer.delta_loss_stderr) ? fmt::format("{:.4f}", layer.delta_loss_stderr) : "-"});
  }
  fmt::print("{} tokens in {} sequences: loss {:.4f}, perplexity {:.2f}\n{}", r.tokens, r.sequences, r.loss,
             std::exp(r.loss), table.text());
  if (r.effective_depth) {
    fmt::print("effective depth {:.2f} of {} layers ({:.0f}%)\n", *r.effective_depth, r.removed.size(),
               100 * *r.effective_depth_ratio);
  } else {
    fmt::print("effective depth: none; no removal hurts\n");
  }
}

template <class W>
void sweep(const Options& o) {
  LoadedModel<W> m = load_model<W>(o.model);
  const TokenSequences sequences = read_sequences(o.input, m.folder, m.config);
  const auto progress = make_progress();
  const SweepResult result = sweep_layers(*m.transformer, sequences, o.batch, *progress);
  print_sweep(result);
  nlohmann::json json = sweep_json(result);
  json["model"] = o.model;
  json["dtype"] = o.dtype;
  write_result(*o.common, json);
  // A run folder keeps its sweep, for `fathom compare`.
  if (fs::is_directory(fs::path(o.model) / "checkpoints"))
    write_text_file(fs::path(o.model) / "sweep.json", json.dump(2) + "\n");
}

// What the removal costs on the given text: printed, and added to the result.
template <class W>
void price(const Options& o, const std::vector<size_t>& layers, nlohmann::json& result) {
  LoadedModel<W> m = load_model<W>(o.model);
  const TokenSequences sequences = read_sequences(o.input, m.folder, m.config);
  const RemovalPrice p = price_removal(*m.transformer, sequences, layers, o.batch);
  fmt::print(
      "{} tokens in {} sequences: loss {:.4f} whole, {:.4f} without ({:+.4f} +- {:.4f}), perplexity {:.2f} "
      "-> {:.2f}\n",
      p.tokens, p.sequences, p.loss, p.loss_without, p.delta_loss, p.delta_loss_stderr, std::exp(p.loss),
      std::exp(p.loss_without));
  result["loss"] = p.loss;
  result["perplexity"] = std::exp(p.loss);
  result["removed"] = {{{"layers", layers},
                        {"loss", p.loss_without},
                        {"perplexity", std::exp(p.loss_without)},
                        {"delta_loss", p.delta_loss},
                        {"delta_loss_stderr", p.delta_loss_stderr}}};
}

void drop(const Options& o) {
  const fs::path folder = resolve_model(o.model);
  const ModelConfig config = read_config(folder);
  const std::vector<size_t> layers = parse_layers(o.drop, config.num_hidden_layers);
  const ModelConfig pruned = pruned_config(config, layers);
  nlohmann::json result{{"model", o.model},
                        {"dropped", layers},
                        {"layers", pruned.num_hidden_layers},
                        {"layer_index", pruned.norm.layer_index}};
  if (o.input.given()) with_dtype(parse_dtype(o.dtype), [&]<class W>() { price<W>(o, layers, result); });
  if (!o.out.empty()) {
    write_pruned(folder, layers, o.out);
    if (is_gguf(folder)) load_tokenizer(folder).save(o.out);
    fmt::print("{}: {} of {} layers, {} parameters; read back and compared\n", o.out,
               pruned.num_hidden_layers, config.num_hidden_layers,
               count_text(static_cast<double>(parameter_count(parameter_list(pruned)))));
    result["out"] = o.out;
  }
  write_result(*o.common, result);
}

void run(const Options& o) {
  if (o.sweep == !o.drop.empty())
    usage_error("give either --sweep or --drop",
                "fathom prune MODEL --sweep --text FILE, or --drop 21-24 --out DIR");
  if (o.sweep) {
    if (!o.out.empty()) usage_error("--out goes with --drop", "--json writes the result of a sweep");
    with_dtype(parse_dtype(o.dtype), [&]<class W>() { sweep<W>(o); });
    return;
  }
  if (o.out.empty() && !o.input.given()) {
    usage_error(
        "--drop needs --out DIR for the pruned checkpoint, or --text FILE to price the removal on, or both");
  }
  drop(o);
}

}  // namespace

void add_prune(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = add_command(
      app, "prune", "Measure what each layer is worth, or write a checkpoint without some layers",
      "fathom prune runs/lns --sweep --data data\n  fathom prune runs/lns --drop 21-24,27 --out pruned",
      o->common);
  c->add_option("MODEL", o->model, "Hugging Face folder, .gguf file or run folder")->required();
  c->add_flag("--sweep", o->sweep, "Loss with each layer removed, and the effective depth");
  add_text_options(*c, o->input);
  c->add_option("--batch", o->batch, "Sequences at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  c->add_option("--dtype", o->dtype, "fp32 or bf16, of the losses")->capture_default_str();
  c->add_option("--drop", o->drop, "Layers to leave out, 1-based, such as 21-24,27");
  c->add_option("--out", o->out, "New folder for the pruned checkpoint");
  c->callback([o] {
    apply(*o->common);
    run(*o);
  });
}

}  // namespace fathom::cli
