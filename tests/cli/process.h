#pragma once
// `fathom <arguments>` as a process of its own.

#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

namespace fathom::cli {

/// Starts the program with its stdout and stderr in the file `errors`, or stdout in `output` where that is
/// given.
pid_t start(const std::vector<std::string>& arguments, const std::filesystem::path& errors,
            const std::filesystem::path& output = {});
/// Waits for its end and returns its status (waitpid).
int wait_for(pid_t child);
/// Whether it has ended; its status stays to be asked for.
bool ended(pid_t child);

}  // namespace fathom::cli
