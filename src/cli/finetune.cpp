// fathom finetune: a model and a file of examples to a run, whose loss is that of the responses.

#include <algorithm>
#include <filesystem>

#include "cli/model_loading.h"
#include "cli/training.h"
#include "core/error.h"
#include "text/chat_template.h"
#include "train/recipe.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::shared_ptr<TrainingOptions> training = std::make_shared<TrainingOptions>();
  std::string model;
};

// A run keeps the tokenizer that it was started with; a start takes the model's.
fs::path tokenizer_source(const TrainSettings& s) {
  const fs::path own = fs::path(s.out) / "tokenizer";
  return s.resume && fs::exists(own) ? own : resolve_model(s.from);
}

// Whether a run folder's data are token shards.
bool is_training_run(const fs::path& out) {
  if (!fs::exists(out / "run.toml")) return false;
  TrainSettings s;
  read_recipe(s, out / "run.toml");
  return fs::is_directory(s.data);
}

TrainSettings settings_of(const Options& o) {
  std::map<std::string, std::string> given = o.training->given;
  if (!o.model.empty()) given["from"] = o.model;
  if (o.training->resume && given.contains("out") && is_training_run(given["out"]))
    usage_error(given["out"] + ": holds a run of `fathom train`",
                "go on with: fathom train --resume --out " + given["out"]);
  TrainSettings s = gather_settings(given, o.training->recipe, o.training->resume, finetune_defaults());
  if (s.from.empty())
    usage_error("MODEL is missing", "give a Hugging Face folder, a .gguf file or a run folder");
  if (!s.resume && !given.contains("seq") && o.training->recipe.empty())
    s.seq = std::min<uint64_t>(s.seq, read_config(resolve_model(s.from)).max_position_embeddings);
  resolve_finetune_lr(s);
  return s;
}

void run(const Options& o) {
  const TrainSettings settings = settings_of(o);
  const fs::path source = tokenizer_source(settings);
  const ExampleInput input{load_tokenizer(source),
                           std::make_shared<const ChatTemplate>(load_chat_template(source))};
  run_training(*o.training, settings, "finetune", [&](Progress& progress, const std::atomic<bool>* stop) {
    return train(settings, progress, stop, &input);
  });
}

}  // namespace

void add_finetune(Command app) {
  auto o = std::make_shared<Options>();
  Command c = add_command(
      app, "finetune", "Fine-tune a model on examples: everything, some layers, or adapters (LoRA)",
      "fathom finetune model.gguf --data examples.jsonl --out runs/tuned --lora-rank 8\n"
      "  fathom finetune runs/lns --data arc_easy.train.jsonl --epochs 3 --lr 1e-5 --out runs/arc\n"
      "  fathom finetune --resume --out runs/tuned",
      o->training->common);
  c.option("MODEL", o->model, "Hugging Face folder, .gguf file or run folder");
  add_training_options(c, o->training, SettingScope::kFinetune, finetune_defaults());
  c.runs([o] {
    apply(*o->training->common);
    run(*o);
  });
}

}  // namespace fathom::cli
