#pragma once
// What `fathom probe --json` wrote, read back: checked, not computed. A value that the file does not have is
// NaN or empty, whether its key is absent (a quick diagnosis) or null (no finite value).

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "report/sweep_record.h"

namespace fathom {

/// One metric over depth: (L + 1) each, entry 0 the embedding (NaN where the metric is of layers alone),
/// entry l layer l. `error` is the standard error.
struct DepthValues {
  std::vector<double> value, error;
  /// Layers without a value.
  size_t missing() const;
};

/// NaN for null. Rows as in the file: they need not be equally long.
using LayerMatrix = std::vector<std::vector<double>>;

struct GrowthRecord {
  std::string law;  ///< "linear", "power" or "exponential".
  double slope = kMissing, exponent = kMissing, rate = kMissing;
  double aicc_linear = kMissing, aicc_power = kMissing, aicc_exponential = kMissing;
  bool dominated_by_jump = false;  ///< One layer makes most of the growth: no law is to be believed.
};

struct ProbeRecord {
  size_t run = 0;    ///< Its place among the models of a comparison: its colour.
  std::string name;  ///< For people; compare_runs tells equal ones apart.
  std::filesystem::path path;
  std::string model, dtype, checkpoint;  ///< As written; "" where absent.
  size_t layers = 0;
  uint64_t tokens = 0, sequences = 0, seq = 0;  ///< 0 where absent.
  double loss = kMissing, loss_stderr = kMissing, perplexity = kMissing;
  /// By JSON key, `_stderr` folded in: every key whose values are numbers or null, known or not.
  std::map<std::string, DepthValues> metrics;
  std::vector<uint64_t> original_layers;  ///< (L) of a pruned model, else empty.
  LayerMatrix angular_all, angular_last;  ///< Row n - 1 from each start l to l + n, l = 0 .. L - n; or empty.
  LayerMatrix causal, permutation;        ///< (L, L), or empty.
  uint64_t permutation_tokens = 0;
  std::optional<GrowthRecord> growth;
  double usefulness_share = kMissing;
  std::string usefulness_reason, grad_norm_reason;  ///< Why there is none; "" where there is one.
  std::vector<std::string> summary;
  std::vector<SweepRecord> sweeps;  ///< Those given beside it.
  std::vector<std::string> notes;   ///< What compare_runs says of what was given beside it.

  /// The values of `key`, or null where no layer has one.
  const DepthValues* find(const std::string& key) const;
};

/// Reads a diagnosis; `origin` is the file it came from, for errors. Errors: Error naming file and key, where
/// a list has another number of layers or a value is of another type.
ProbeRecord read_probe(const nlohmann::json& object, const std::filesystem::path& origin);

}  // namespace fathom
