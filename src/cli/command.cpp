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
  // A model may generate half a character: bytes that are no UTF-8 become U+FFFD, as JSON has no form for them.
  const auto handler = nlohmann::json::error_handler_t::replace;
  write_text_file(common.json_path, result.dump(2, ' ', false, handler) + "\n");
}

std::string human_count(double n) {
  if (n >= 1e12) return fmt::format("{:.2f}T", n / 1e12);
  if (n >= 1e9) return fmt::format("{:.2f}B", n / 1e9);
  if (n >= 1e6) return fmt::format("{:.2f}M", n / 1e6);
  if (n >= 1e4) return fmt::format("{:.1f}k", n / 1e3);
  return fmt::format("{:.0f}", n);
}

std::string human_bytes(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 2, units[unit]);
}

std::string human_seconds(double seconds) {
  const auto s = static_cast<long long>(seconds + 0.5);
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m {:02}s", s / 60, s % 60);
  return fmt::format("{}h {:02}m", s / 3600, s / 60 % 60);
}

}  // namespace fathom::cli
