#pragma once
// What the commands that train share: flags from the table of settings, signals, the result.

#include <functional>
#include <map>
#include <string>

#include "cli/command.h"
#include "train/train.h"

namespace fathom::cli {

struct TrainingOptions {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::map<std::string, std::string> given;  ///< settings that stand on the command line
  std::string recipe;
  bool resume = false;
};

/// Adds --config, --resume, and a flag for every setting that is `scope`'s or both commands'; defaults are
/// shown as they stand in `defaults`.
void add_training_options(Command command, const std::shared_ptr<TrainingOptions>& options,
                          SettingScope scope, const TrainSettings& defaults);

/// Calls `run`, which hands its arguments on to train(), until it is done or a signal comes; writes --json's
/// file and prints what came out. `command` is named in how to go on. Errors: those of train(); Error where a
/// signal ended it.
void run_training(const TrainingOptions& options, const TrainSettings& settings, const std::string& command,
                  const std::function<TrainResult(Progress&, const std::atomic<bool>*)>& run);

}  // namespace fathom::cli
