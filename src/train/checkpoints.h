#pragma once
// Checkpoints of a run: checkpoints/step-N, a Hugging Face folder (of adapters: PEFT's) with the state that
// training needs on top of it. A folder of that name is complete: it is written as .tmp-step-N, every file
// flushed to the disk, and renamed; one that goes is renamed to .old-step-N before it is deleted.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "io/run_checkpoints.h"
#include "model/transformer.h"
#include "train/metrics_log.h"
#include "train/optimizer.h"
#include "train/trainee.h"

namespace fathom {

/// state.json: where the run stands.
struct TrainState {
  uint64_t step = 0;                 ///< updates done
  std::string settings_fingerprint;  ///< of the settings that a resumed run may not change, data included
  /// Part of these, to say which of them differ; perhaps absent.
  std::optional<uint64_t> seed{}, data_seed{};
  std::string data_fingerprint{};
  /// Of the step, without an evaluation: its line of metrics.jsonl may still have to be written. Absent in
  /// older checkpoints.
  std::optional<StepMetrics> metrics{};
};

class Checkpoints {
 public:
  /// `folder`: the run's checkpoints/, made where missing; what unfinished saves and deletions left in it is
  /// removed. What can't be deleted (by NFS, where another program has it open) is warned of once, and tried
  /// again at each save. `tokenizer`: a folder whose tokenizer files go into each checkpoint.
  Checkpoints(std::filesystem::path folder, std::filesystem::path tokenizer, DType stored, uint64_t keep);

  std::optional<std::filesystem::path> last() const { return last_checkpoint(folder_); }

  /// Writes step-<state.step> and then deletes the oldest beyond `keep`; does nothing where it stands
  /// already. Returns its folder. Errors: Error (a full disk is named); then nothing of the new one remains
  /// and the old ones do.
  template <class W>
  std::filesystem::path save(const TrainState& state, Trainee<W>& trainee, AdamW<Stream<W>>& optimizer);

 private:
  void remove_leftovers();
  void remove_old();
  void remove(const std::filesystem::path& path);
  void warn_once(const std::filesystem::path& path, const std::error_code& error);

  std::filesystem::path folder_, tokenizer_;
  DType stored_;
  uint64_t keep_;
  std::set<std::filesystem::path> warned_of_;
};

/// Errors: Error where the file is missing or damaged.
TrainState read_train_state(const std::filesystem::path& checkpoint);

/// Reads masters and moments of `checkpoint`, and sets the optimizer's count of updates. Errors: Error naming
/// the tensor.
template <class W>
void load_training_state(const std::filesystem::path& checkpoint, Trainee<W>& trainee,
                         AdamW<Stream<W>>& optimizer);

}  // namespace fathom
