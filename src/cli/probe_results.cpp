#include "cli/probe_results.h"

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "report/compare.h"
#include "report/compare_page.h"
#include "report/json_fields.h"
#include "report/sweep_record.h"
#include "text/text_error.h"

namespace fathom::cli {

nlohmann::json read_sweep_file(const std::filesystem::path& path, size_t layers) {
  nlohmann::json sweep = read_json_file(path);
  const uint64_t last = read_sweep(sweep, path).last_layer();
  if (last > layers)
    fail_in(path, fmt::format("removes layer {}, but the model has {} layers", last, layers),
            "is it a sweep of another model?");
  return sweep;
}

void check_writable(const std::string& path, const std::string& flag) {
  namespace fs = std::filesystem;
  if (path.empty()) return;
  const fs::path folder = fs::absolute(path).parent_path();
  std::error_code error;
  if (!fs::is_directory(folder, error))
    usage_error(flag + " " + path + ": there is no folder " + folder.string(), "make it first");
  if (fs::is_directory(path, error)) usage_error(flag + " " + path + ": is a folder", "name a file");
  // The file is written under a temporary name beside it and renamed: it is the folder that must let us.
  if (access(folder.c_str(), W_OK) != 0)
    usage_error(flag + " " + path + ": nothing can be written to " + folder.string(), "name another place");
}

void keep_probe(const std::string& model, const nlohmann::json& result, const std::string& html,
                nlohmann::json sweep) {
  namespace fs = std::filesystem;
  const fs::path run = model;
  if (fs::is_directory(run / "checkpoints")) {
    const auto handler = nlohmann::json::error_handler_t::replace;  // A path need not be UTF-8.
    write_text_file(run / "probe.json", result.dump(2, ' ', false, handler) + "\n");
    if (sweep.is_null() && fs::exists(run / "sweep.json")) sweep = read_json_file(run / "sweep.json");
  }
  if (html.empty()) return;
  write_text_file(html, comparison_page(single_probe(result, sweep)));
  fmt::print("\nThe page is in {}\n", html);
}

}  // namespace fathom::cli
