#include "cli/command.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/threads.h"
#include "kernels/isa.h"

namespace fathom::cli {

Command add_command(Command app, const std::string& name, const std::string& description,
                    const std::string& example, const std::shared_ptr<Common>& common) {
  Command command = app.add_command(name, description, example);
  command.option("--threads", common->threads, "Threads to use (0: one a core, within the CPU quota)").range(0, 4096);
  command.option("--json", common->json_path, "Write the result to this file as JSON");
  return command;
}

void apply(const Common& common) {
  active_isa();
  if (!common.json_path.empty()) require_writable(common.json_path);
  set_num_threads(common.threads);
}

void require_writable(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  const auto refuse = [&](std::string what, std::string hint) {
    fail({.what = std::move(what), .path = path.string(), .hint = std::move(hint)});
  };
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (path == "-") refuse("is no name for a file", "tables go to the standard output; name a file");
  if (fs::is_directory(status)) refuse("is a folder", "name a file in it");
  if (fs::exists(status) && !fs::is_regular_file(status)) return;  // a device or a pipe: written to as it is
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (!fs::is_directory(folder, error))
    refuse("cannot be written: there is no folder " + folder.string(), "make it, or name another");
  if (::access(folder.c_str(), W_OK) != 0)
    refuse("cannot be written: " + std::string(std::strerror(errno)), "name a file in another folder");
}

std::filesystem::path path_beside_result(const Common& common, const std::string& suffix) {
  namespace fs = std::filesystem;
  fs::path path = common.json_path;
  if (path.empty()) return {};
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::exists(status) && !fs::is_regular_file(status)) return {};
  if (fs::exists(status) && fs::is_symlink(path, error)) path = fs::canonical(path);  // such as /dev/stdout
  return path += suffix;
}

void write_result(const Common& common, const nlohmann::json& result) {
  if (common.json_path.empty()) return;
  // A model may generate half a character: bytes that are no UTF-8 become U+FFFD, as JSON has no form for
  // them.
  const auto handler = nlohmann::json::error_handler_t::replace;
  write_text_file(common.json_path, result.dump(2, ' ', false, handler) + "\n");
}

}  // namespace fathom::cli
