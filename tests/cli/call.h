#pragma once
// `fathom <arguments>` in this process.

#include <string>
#include <vector>

namespace fathom::cli {

/// Runs the command and returns what it printed; what it said on stderr (progress, warnings) is dropped.
/// Throws what main() would turn into a message and an exit code.
std::string call(const std::vector<std::string>& arguments);

/// The same of words that spaces part.
std::string call_line(const std::string& arguments);

}  // namespace fathom::cli
