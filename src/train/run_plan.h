#pragma once
// From settings to a run that is known to fit together, before anything large is allocated or written.

#include <memory>
#include <string>

#include "model/config.h"
#include "text/tokenizer.h"
#include "train/data_source.h"
#include "train/recipe.h"
#include "train/settings.h"

namespace fathom {

class ChatTemplate;

/// What turns examples into ids.
struct ExampleInput {
  Tokenizer tokenizer;
  std::shared_ptr<const ChatTemplate> chat;  ///< null: conversations are an error
};

struct RunPlan {
  TrainSettings settings;  ///< resolved, paths absolute
  ModelConfig config;      ///< with the adapters that are trained, if any
  std::shared_ptr<const DataSource> data;
  bool examples = false;  ///< the data are examples, not shards
  RunFacts facts;
  std::string settings_fingerprint;  ///< of what a resumed run may not change
  uint64_t eval_sequences = 0;       ///< validation windows that an evaluation takes; 0: none
};

/// Reads model, data and, for a resumed run, what it was told before; checks all of it against each other.
/// `examples`: of a run that fine-tunes on examples; without it the data are token shards. Errors: Error,
/// mostly (usage), each naming the setting, file or key.
RunPlan plan_run(const TrainSettings& settings, const ExampleInput* examples = nullptr);

/// The first key of config.json in which two models differ (special tokens aside), as "hidden_size is 64, not
/// 32"; "" where they are alike.
std::string config_difference(const ModelConfig& config, const ModelConfig& expected);

}  // namespace fathom
