#pragma once
// What the parser's library lets pass and a user did not mean: commands that do not exist, empty values,
// numbers below zero where there are none.

#include <CLI/CLI.hpp>

namespace fathom::cli {

/// Errors: Error (usage) where the command that is named does not exist, with the nearest that does.
void require_known_command(const CLI::App& app, int argc, const char* const* argv);

/// Makes every option of every command refuse an empty value (an unset variable of the shell), a number below
/// zero where none is meant (it would wrap around), and "nan" or "inf" for a number; and take 16k, 4M and 2G
/// for whole numbers, as the settings of a run do.
void refuse_unclear_values(CLI::App& app);

/// The command that `argv` names, for "see ... --help": "fathom prune".
std::string command_path(const CLI::App& app, int argc, const char* const* argv);

}  // namespace fathom::cli
