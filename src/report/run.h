#pragma once
// A run directory, read back: what `train`, `probe` and `prune --sweep` left in it. Nothing here is computed,
// only checked; a value that a file does not have is NaN or empty.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/probe_record.h"
#include "report/sweep_record.h"

namespace fathom {

/// One step of metrics.jsonl. Losses in nats a token.
struct MetricRecord {
  uint64_t step = 0, tokens = 0;
  double loss = kMissing, lr = kMissing, grad_norm = kMissing, tokens_per_second = kMissing, mfu = kMissing;
  double val_loss = kMissing, val_ppl = kMissing, val_loss_stderr = kMissing;
  std::vector<double> layer_variance,
      layer_grad_norm;  ///< (L), layers 1 to L; empty where the step has no probe.
};

/// One evals/step-N.json.
struct EvaluationRecord {
  uint64_t step = 0, tokens = 0, seq = 0;
  double val_loss = kMissing, val_ppl = kMissing, val_loss_stderr = kMissing;
  std::string data_fingerprint;
  std::vector<double> nll;      ///< Nats, summed over the scored tokens of each validation sequence.
  std::vector<uint64_t> count;  ///< Scored tokens of each sequence.
};

struct RunRecord {
  std::string name;  ///< The folder's name; compare_runs lengthens it where two are alike.
  std::filesystem::path path;
  std::string norm;                    ///< The scheme.
  std::string seed, data_fingerprint;  ///< As written in run.toml; "" where absent.
  double parameters = kMissing;
  /// Every setting of run.toml, and the model's shape from config.json, in the order of the files, as text.
  std::vector<std::pair<std::string, std::string>> settings;
  std::vector<MetricRecord> points;           ///< By step; not empty.
  std::vector<EvaluationRecord> evaluations;  ///< By step; may be empty.
  std::optional<SweepRecord> sweep;           ///< sweep.json, which `prune --sweep` leaves.
  std::optional<ProbeRecord> probe;           ///< probe.json, which `probe` leaves.
  /// Those given beside it, of sublayers, of runs of layers, or of tasks alone.
  std::vector<SweepRecord> other_sweeps = {};
};

/// Reads the run directory `folder`. A run that was killed and resumed has steps twice in metrics.jsonl: what
/// was written before a jump back is dropped from that step on; two lines of one step are one point. A last
/// line that was cut short is ignored with a warning (log_warning). Errors: Error, naming file and line or
/// key: not a run directory, no metrics yet, a file that is not what it should be.
RunRecord load_run(const std::filesystem::path& folder);

}  // namespace fathom
