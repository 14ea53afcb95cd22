#pragma once
// Training, without a command line.
//
// Goals: the same bits from the same seed, data and settings, whether the run goes straight through, is
// stopped and resumed, or killed and resumed; nothing is silently off (constants are measured, non-finite
// numbers stop the run, memory is planned). Non-goals, for now: more than one machine; other optimizers.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "core/progress.h"
#include "model/sequence_loss.h"
#include "train/run_plan.h"
#include "train/settings.h"

namespace fathom {

struct TrainResult {
  uint64_t step = 0, steps = 0;  ///< updates done, of how many
  uint64_t tokens = 0;
  uint64_t parameters = 0;
  uint64_t trained_parameters = 0;         ///< of them; of adapters, their own
  bool stopped = false;                    ///< by `stop`, before the last step
  std::filesystem::path checkpoint;        ///< the last one
  std::optional<SequenceLoss> validation;  ///< the last evaluation, if this start made any
};

/// Trains as `settings` say into the run folder settings.out (see docs of the run folder in run_folder.h,
/// checkpoints.h and metrics_log.h). When `*stop` becomes true, the step at hand is finished, a checkpoint
/// saved, and the call returns with `stopped`. What people should know of the start is told by log_info.
/// Errors: Error (usage) for settings that do not fit; Error for data, model or checkpoint that are missing,
/// damaged or of another shape, too little memory, a scheme whose measured constants are not the configured
/// ones, a full disk, a loss or gradient that is not finite. The last complete checkpoint survives each.
/// With `examples` the data are a file of examples (text/sft.h), and the loss is that of their responses.
TrainResult train(const TrainSettings& settings, Progress& progress, const std::atomic<bool>* stop = nullptr,
                  const ExampleInput* examples = nullptr);

}  // namespace fathom
