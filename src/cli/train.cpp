// fathom train: settings from flags and recipe.

#include "cli/training.h"
#include "train/recipe.h"

namespace fathom::cli {

void add_train(Command app) {
  auto o = std::make_shared<TrainingOptions>();
  Command c = add_command(
      app, "train", "Train a model from scratch (or from a checkpoint) on token shards",
      "fathom train --model configs/deep-10m.json --norm lns --data data --out runs/lns "
      "--tokens 20M\n  fathom train --from pruned --data data --out healed --lr 1e-4 --tokens 5M\n"
      "  fathom train --resume --out runs/lns",
      o->common);
  add_training_options(c, o, SettingScope::kTrain, TrainSettings{});
  c.runs([o] {
    apply(*o->common);
    const TrainSettings settings = gather_settings(o->given, o->recipe, o->resume);
    run_training(*o, settings, "train", [&](Progress& progress, const std::atomic<bool>* stop) {
      return train(settings, progress, stop);
    });
  });
}

}  // namespace fathom::cli
