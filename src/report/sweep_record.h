#pragma once
// What `fathom prune --sweep --json` wrote, read back.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace fathom {

inline constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

/// What removing one layer costs. Nats a token.
struct RemovalRecord {
  uint64_t layer = 0;  ///< 1-based.
  double loss = kMissing, delta_loss = kMissing, delta_loss_stderr = kMissing;
};

/// What removing several layers at once costs. Nats a token.
struct BlockRemovalRecord {
  std::vector<uint64_t> layers;  ///< 1-based, ascending; two or more.
  double delta_loss = kMissing, delta_loss_stderr = kMissing;
};

/// A task's accuracy without some layers, on the items that the whole model answered too. Shares of 1.
struct AccuracyRemovalRecord {
  std::vector<uint64_t> layers;  ///< 1-based, ascending.
  double value = kMissing, delta = kMissing, delta_stderr = kMissing, mcnemar_p = kMissing;
  std::string flag;  ///< Why the score is none, such as that of a dead model; "" for a score.

  /// "within noise" (two standard errors or less from zero), "better", "worse", or "noise unknown".
  std::string verdict() const;
};

/// What a sweep says of one task by one metric.
struct AccuracyRecord {
  std::string task, metric;  ///< "acc" or "acc_norm".
  uint64_t items = 0;
  double value = kMissing, error = kMissing;      ///< Of the whole model.
  double chance = kMissing, majority = kMissing;  ///< What answers without any skill get on these items.
  std::string flag;
  std::vector<AccuracyRemovalRecord> removed;  ///< In the order of the file.
};

struct SweepRecord {
  std::string model;           ///< As it was named; "" where the file does not say.
  std::string checkpoint;      ///< The folder that was read, of a run's; "" where the file does not say.
  std::string what = "layer";  ///< What was left out of each layer: "layer", "attn" or "mlp".
  uint64_t tokens = 0;         ///< 0 where the file does not say.
  double loss = kMissing, perplexity = kMissing;
  std::vector<RemovalRecord> removed;                                   ///< By layer, each at most once.
  std::vector<BlockRemovalRecord> blocks;                               ///< In the order of the file.
  double effective_depth = kMissing, effective_depth_ratio = kMissing;  ///< NaN: no removal hurts.
  std::vector<AccuracyRecord> accuracies = {};                          ///< Of a sweep with --tasks.

  /// Whether it says what each whole layer is worth to the loss, which is what a run's table shows.
  bool prices_layers() const { return what == "layer" && !removed.empty(); }
  /// " (of step-300)" where both are known and differ, else "". Folders move: their names decide.
  std::string other_checkpoint(const std::string& than) const;

  /// The highest layer that is removed anywhere.
  uint64_t last_layer() const;
};

/// Reads a sweep; `origin` is the file it came from, for errors. One of tasks alone has neither `removed` nor
/// `blocks`, which hold losses. Errors: Error naming file and key, where `removed` is absent, empty, or names
/// a layer twice.
SweepRecord read_sweep(const nlohmann::json& object, const std::filesystem::path& origin);

}  // namespace fathom
