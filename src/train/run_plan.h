#pragma once
// From settings to a run that is known to fit together, before anything large is allocated or written.

#include <string>

#include "model/config.h"
#include "text/dataset.h"
#include "train/recipe.h"
#include "train/settings.h"

namespace fathom {

struct RunPlan {
  TrainSettings settings;  ///< resolved, paths absolute
  ModelConfig config;
  TokenData data;
  RunFacts facts;
  std::string settings_fingerprint;  ///< of what a resumed run may not change
  uint64_t eval_sequences = 0;       ///< validation windows that an evaluation takes; 0: none
};

/// Reads model, data and, for a resumed run, what it was told before; checks all of it against each other.
/// Errors: Error, mostly (usage), each naming the setting, file or key.
RunPlan plan_run(const TrainSettings& settings);

/// The first key of config.json in which two models differ (special tokens aside), as "hidden_size is 64, not
/// 32"; "" where they are alike.
std::string config_difference(const ModelConfig& config, const ModelConfig& expected);

/// Hash of tokenizer and tokens of both splits, from the shards' own checksums, as 16 hexadecimal digits.
std::string data_fingerprint(const TokenData& data);

}  // namespace fathom
