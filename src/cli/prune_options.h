#pragma once
// The settings of `fathom prune`, and what its modes print alike.

#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/stderr_text.h"
#include "cli/task_options.h"
#include "cli/text_input.h"
#include "core/layer_ranges.h"

namespace fathom::cli {

struct PruneOptions {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::string model, drop, out, dtype = "fp32";
  bool sweep = false;
  size_t block = 1, choose = 0;
  std::string what = "layer", by = "loss", angular_tokens = "all", protect, store = "source";
  TextInput input;
  TaskOptions tasks;
  size_t batch = 8;
  uint64_t memory = 0;
};

/// "7", "7-9" or "2,7-9", of rising places: as --drop takes them.
inline std::string layer_list(const std::vector<size_t>& layers) { return layer_ranges(layers, ","); }

/// `fathom prune --sweep`.
void run_sweep(const PruneOptions& options);

}  // namespace fathom::cli
