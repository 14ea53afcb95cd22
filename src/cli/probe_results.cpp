#include "cli/probe_results.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "report/compare.h"
#include "report/compare_page.h"
#include "report/json_fields.h"

namespace fathom::cli {

void keep_probe(const std::string& model, const std::filesystem::path& checkpoint, nlohmann::json result,
                const std::string& html) {
  namespace fs = std::filesystem;
  const fs::path run = model;
  nlohmann::json sweep;
  if (fs::is_directory(run / "checkpoints")) {
    result["checkpoint"] = checkpoint.string();
    const auto handler = nlohmann::json::error_handler_t::replace;  // A path need not be UTF-8.
    write_text_file(run / "probe.json", result.dump(2, ' ', false, handler) + "\n");
    if (fs::exists(run / "sweep.json")) sweep = read_json_file(run / "sweep.json");
  }
  if (html.empty()) return;
  write_text_file(html, comparison_page(single_probe(result, sweep)));
  fmt::print("\nThe page is in {}\n", html);
}

}  // namespace fathom::cli
