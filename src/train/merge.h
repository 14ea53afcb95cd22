#pragma once
// Adapters folded into their base: a checkpoint that every program reads.

#include <filesystem>
#include <functional>

#include "core/progress.h"

namespace fathom {

struct MergeResult {
  uint64_t parameters = 0, adapters = 0;  ///< of the model; of the adapters
  /// The largest difference between a logit of the merged model, read back, and of the base with the adapters
  /// beside it, on random tokens, over the largest logit: in fp32.
  double deviation = 0;
};

/// Writes the adapter's base with the adapter folded in to the new folder `out`, in bf16 where the
/// base is stored in it, else in fp32. `add_files(folder)` may put tokenizer files beside it. What was
/// written is read back and held to the unmerged model before it gets its name. Errors: Error (usage) where
/// `adapter` is no adapter or `out` exists; Error where the two disagree by more than rounding, and those of
/// reading and writing.
MergeResult merge_adapter(const std::filesystem::path& adapter, const std::filesystem::path& out,
                          const std::function<void(const std::filesystem::path&)>& add_files,
                          Progress* progress = nullptr);

}  // namespace fathom
