// The program: parses the command line, runs one command, maps errors to one line and an exit code
// (0 done, 1 failed, 2 bad usage).

#include <exception>
#include <new>
#include <vector>

#include <fmt/format.h>

#include "cli/command.h"
#include "core/error.h"
#include "core/log.h"

int main(int argc, char** argv) {
  CLI::App app{
      "Fathom sounds the depth of language models: train under any normalization scheme, and see which "
      "layers carry weight."};
  app.name("fathom");
  app.require_subcommand(1);
  app.set_version_flag("--version", FATHOM_VERSION);
  fathom::set_log_sink([](fathom::LogLevel level, const std::string& message) {
    fmt::print(stderr, "{}{}\n", level == fathom::LogLevel::kWarning ? "warning: " : "", message);
  });
  try {
    fathom::cli::add_commands(app);
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    fmt::print(stderr, "fathom: {}; see fathom --help\n", e.what());
    return 2;
  } catch (const fathom::Error& e) {
    fmt::print(stderr, "fathom: {}\n", e.what());
    return e.code() == fathom::ErrorCode::kUsage ? 2 : 1;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "fathom: out of memory; try a smaller --batch or --seq, or --recompute\n");
    return 1;
  } catch (const std::exception& e) {
    fmt::print(stderr, "fathom: {}\n", e.what());
    return 1;
  }
}
