// The program: parses the command line, runs one command, maps errors to one line and an exit code
// (0 done, 1 failed, 2 bad usage).

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/stop_signals.h"
#include "core/error.h"
#include "core/log.h"

namespace {

// Where nobody can read it, a message is no reason to stop.
void say(const std::string& line) { std::fputs((line + "\n").c_str(), stderr); }

int run(int argc, char** argv) {
  try {
    fathom::cli::run_command_line({argv + 1, argv + argc}, FATHOM_VERSION);
    return 0;
  } catch (const fathom::Error& e) {
    say(fmt::format("fathom: {}", e.what()));
    return e.code() == fathom::ErrorCode::kUsage ? 2 : 1;
  } catch (const std::bad_alloc&) {
    say("fathom: out of memory; give it less to do at a time (see --help), or more memory");
    return 1;
  } catch (const std::exception& e) {
    say(fmt::format("fathom: {}", e.what()));
    return 1;
  }
}

}  // namespace

int main(int argc, char** argv) {
  fathom::set_log_sink([](fathom::LogLevel level, const std::string& message) {
    say((level == fathom::LogLevel::kWarning ? "warning: " : "") + message);
  });
  fathom::cli::watch_signals();
  const int code = run(argc, argv);
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  say(fmt::format("fathom: cannot write to the standard output: {}", std::strerror(errno)));
  return code == 0 ? 1 : code;
}
