#pragma once
// The training loop over one run folder, in compute type W.

#include <atomic>
#include <memory>

#include "core/progress.h"
#include "train/batches.h"
#include "train/checkpoints.h"
#include "train/metrics_log.h"
#include "train/optimizer.h"
#include "train/run_folder.h"
#include "train/run_plan.h"
#include "train/schedule.h"
#include "train/train.h"
#include "train/trainee.h"

namespace fathom {

template <class W>
class Trainer {
 public:
  /// `plan` and `folder` outlive the trainer. Allocates nothing large before the memory has been checked;
  /// `keeps_packed`: whether there is room for the matrices once more, as products read them. Errors: Error.
  Trainer(RunPlan& plan, RunFolder& folder, bool keeps_packed);

  /// Trains from where the run stands to its end, or until `*stop`. Errors: Error.
  TrainResult run(Progress& progress, const std::atomic<bool>* stop);

 private:
  using S = Stream<W>;

  static std::unique_ptr<Trainee<W>> make_trainee(const RunPlan& plan);
  void set_weights();
  void load_source();
  StepMetrics train_step(uint64_t step);
  void backward(StepMetrics& metrics, bool probe);
  void finish_step(StepMetrics& metrics, const std::atomic<bool>* stop, TrainResult& result);
  void evaluate_into(StepMetrics& metrics, const std::atomic<bool>* stop);
  void save(const StepMetrics& metrics);
  [[noreturn]] void stop_non_finite(uint64_t step, const std::string& what);
  bool is_due(uint64_t step, uint64_t every) const;
  bool evaluates_after(uint64_t step) const;

  RunPlan& plan_;
  const TrainSettings& settings_;
  RunFolder& folder_;
  Checkpoints checkpoints_;
  Schedule schedule_;
  std::unique_ptr<Trainee<W>> trainee_;
  Gradients<S> gradients_;
  AdamW<S> optimizer_;
  Transformer<W> model_;
  BatchBuffer step_batch_, eval_batch_;
  std::unique_ptr<MetricsLog> metrics_;
  double flops_per_token_;
  uint64_t done_ = 0, saved_ = 0;          // steps
  std::optional<StepMetrics> unfinished_;  // of the step resumed at, where the process ended after its save
};

}  // namespace fathom
