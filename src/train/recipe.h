#pragma once
// Settings as TOML: recipes that people write, and the run.toml that every run leaves, which is a recipe for
// the same run again.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "train/settings.h"

namespace fathom {

/// What a run records beside its settings.
struct RunFacts {
  std::string data_fingerprint;
  uint64_t parameters = 0;
  std::string started;  ///< UTC, ISO 8601
  std::string fathom_version, cpu, isa;
  uint64_t threads = 0;
};

/// Reads `path` over `settings`: keys are the long flags with '_' for '-'. Keys that only record a fact
/// (those of RunFacts) are passed over. Errors: Error (usage), naming file and line: not TOML, an unknown key
/// (with the nearest), a value that does not fit, both steps and tokens.
void read_recipe(TrainSettings& settings, const std::filesystem::path& path);

/// The settings of one start: `defaults`; with `resume` what the run in `out` was told; then `recipe`,
/// where not empty; then `flags` (keys and values as assign() takes them). Errors: Error (usage) as
/// read_recipe and assign, or both steps and tokens among the flags.
TrainSettings gather_settings(const std::map<std::string, std::string>& flags,
                              const std::filesystem::path& recipe, bool resume,
                              const TrainSettings& defaults = {});

/// run.toml: the settings that are set, in the order of the table, then the facts.
std::string format_run_toml(const TrainSettings& settings, const RunFacts& facts);

/// The facts of a run.toml; what it does not have is empty or 0.
RunFacts read_facts(const std::filesystem::path& path);

}  // namespace fathom
