#include "cli/command.h"

#include <cstdio>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/threads.h"

namespace fathom::cli {

CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& description,
                      const std::string& example, const std::shared_ptr<Common>& common) {
  CLI::App* command = app.add_subcommand(name, description);
  command->footer("Example:\n  " + example);
  command->add_option("--threads", common->threads, "Threads to use (0: one a core)")
      ->check(CLI::Range(0, 4096));
  command->add_option("--json", common->json_path, "Write the result to this file as JSON");
  return command;
}

void apply(const Common& common) { set_num_threads(common.threads); }

void write_result(const Common& common, const nlohmann::json& result) {
  if (common.json_path.empty()) return;
  // A model may generate half a character: bytes that are no UTF-8 become U+FFFD, as JSON has no form for
  // them.
  const auto handler = nlohmann::json::error_handler_t::replace;
  write_text_file(common.json_path, result.dump(2, ' ', false, handler) + "\n");
}

}  // namespace fathom::cli
