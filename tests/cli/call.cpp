#include "cli/call.h"

#include <iterator>
#include <sstream>

#include <gtest/gtest.h>

#include "cli/command.h"

namespace fathom::cli {

std::string call(const std::vector<std::string>& arguments) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  try {
    run_command_line(arguments, "test");
  } catch (...) {
    testing::internal::GetCapturedStderr();
    testing::internal::GetCapturedStdout();
    throw;
  }
  testing::internal::GetCapturedStderr();
  return testing::internal::GetCapturedStdout();
}

std::string call_line(const std::string& arguments) {
  std::istringstream words(arguments);
  return call({std::istream_iterator<std::string>(words), {}});
}

}  // namespace fathom::cli
