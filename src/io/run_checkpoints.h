#pragma once
// The names in a run's checkpoints/: step-N is a complete checkpoint; whatever is called otherwise is none.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace fathom {

/// "step-N".
std::string checkpoint_name(uint64_t step);

/// Steps of the complete checkpoints in `folder`, rising.
std::vector<uint64_t> saved_steps(const std::filesystem::path& folder);

/// The last complete checkpoint in `folder`, if there is one, or a folder.
std::optional<std::filesystem::path> last_checkpoint(const std::filesystem::path& folder);

}  // namespace fathom
