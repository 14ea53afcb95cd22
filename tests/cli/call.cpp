#include "cli/call.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "cli/command.h"

namespace fathom::cli {

std::string call(std::vector<std::string> arguments) {
  CLI::App app;
  add_commands(app);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  try {
    app.parse(arguments);
  } catch (...) {
    testing::internal::GetCapturedStderr();
    testing::internal::GetCapturedStdout();
    throw;
  }
  testing::internal::GetCapturedStderr();
  return testing::internal::GetCapturedStdout();
}

}  // namespace fathom::cli
