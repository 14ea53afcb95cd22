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

struct SweepRecord {
  std::string model;           ///< As it was named; "" where the file does not say.
  std::string what = "layer";  ///< What was left out of each layer: "layer", "attn" or "mlp".
  uint64_t tokens = 0;         ///< 0 where the file does not say.
  double loss = kMissing, perplexity = kMissing;
  std::vector<RemovalRecord> removed;                                   ///< By layer, each at most once.
  std::vector<BlockRemovalRecord> blocks;                               ///< In the order of the file.
  double effective_depth = kMissing, effective_depth_ratio = kMissing;  ///< NaN: no removal hurts.
};

/// Reads a sweep; `origin` is the file it came from, for errors. Errors: Error naming file and key, where
/// `removed` is absent, empty, or names a layer twice.
SweepRecord read_sweep(const nlohmann::json& object, const std::filesystem::path& origin);

}  // namespace fathom
