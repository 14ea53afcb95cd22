#pragma once
// The lines of metrics.jsonl, the files of evals/, and the same numbers as TensorBoard curves.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "io/tensorboard.h"
#include "model/sequence_loss.h"

namespace fathom {

/// What one step leaves behind. Losses in nats a token.
struct StepMetrics {
  uint64_t step = 0;    ///< 1-based; the loss is the one before this step's update
  uint64_t tokens = 0;  ///< trained on so far
  double loss = 0, lr = 0, grad_norm = 0, tokens_per_second = 0, mfu = 0;
  std::optional<SequenceLoss> validation;               ///< after the update
  std::vector<double> layer_variance, layer_grad_norm;  ///< (L) on a probe step, else empty
};

/// A step's line of metrics.jsonl, and the step again but for its validation; null, which stands for what is
/// no finite number, becomes NaN. Errors of the second: nlohmann::json::exception where a key is missing.
nlohmann::ordered_json metrics_to_json(const StepMetrics& metrics);
StepMetrics metrics_from_json(const nlohmann::json& line);

/// The line of `step` in the metrics.jsonl of the folder `run`; null where there is none.
nlohmann::json metrics_line(const std::filesystem::path& run, uint64_t step);

class MetricsLog {
 public:
  /// Starts, or continues after step `resumed_at`: lines and evaluations beyond it, which were trained but
  /// not saved, and a line cut short are dropped; lines that are missing are warned of. Errors: Error.
  MetricsLog(const std::filesystem::path& run, std::optional<uint64_t> resumed_at);
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;
  ~MetricsLog();

  /// Appends one line, handed to the kernel before the call returns. Errors: Error (a full disk is named).
  void add(const StepMetrics& metrics);
  /// What was added reaches the disk before the call returns. Errors: Error.
  void sync();
  /// Writes evals/step-<N>.json. Errors: Error.
  void add_evaluation(const StepMetrics& metrics, uint64_t seq, const std::string& data_fingerprint);

 private:
  std::filesystem::path path_, evals_;
  int fd_ = -1;
  EventWriter events_;
};

}  // namespace fathom
