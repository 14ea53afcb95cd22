#include "cli/probe_results.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
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

namespace {

// Whether `now` has every key that `before` has, in lists by their first elements.
bool covers(const nlohmann::json& now, const nlohmann::json& before) {
  if (before.is_object()) {
    return now.is_object() &&
           std::all_of(before.items().begin(), before.items().end(), [&](const auto& item) {
             return now.contains(item.key()) && covers(now[item.key()], item.value());
           });
  }
  if (before.is_array() && !before.empty())
    return now.is_array() && !now.empty() && covers(now[0], before[0]);
  return before.is_null() || !now.is_null();
}

// Whether what stands in `path` is of the same checkpoint and says more.
bool is_fuller(const std::filesystem::path& path, const nlohmann::json& result) {
  if (!std::filesystem::exists(path)) return false;
  const nlohmann::json before = parse_json_or_discard(read_text_file(path));
  const auto checkpoint = [](const nlohmann::json& json) {
    return json.is_object() ? json.value("checkpoint", nlohmann::json()) : nlohmann::json();
  };
  if (!before.is_object() || checkpoint(before) != checkpoint(result) || covers(result, before)) return false;
  log_info(path.string() +
           " has metrics that this diagnosis has not, and stays as it is (--json keeps this one)");
  return true;
}

}  // namespace

void keep_in_run(const std::filesystem::path& path, const nlohmann::json& result) {
  try {
    const auto handler = nlohmann::json::error_handler_t::replace;  // A path need not be UTF-8.
    write_text_file(path, result.dump(2, ' ', false, handler) + "\n");
  } catch (const Error& e) {
    log_warning(std::string(e.what()) + "; the result is not kept in the run");
  }
}

void keep_probe(const std::string& model, const nlohmann::json& result, const std::string& html,
                nlohmann::json sweep) {
  namespace fs = std::filesystem;
  const fs::path run = model;
  if (fs::is_directory(run / "checkpoints")) {
    if (!is_fuller(run / "probe.json", result)) keep_in_run(run / "probe.json", result);
    if (sweep.is_null() && fs::exists(run / "sweep.json")) sweep = read_json_file(run / "sweep.json");
  }
  if (html.empty()) return;
  write_text_file(html, comparison_page(single_probe(result, sweep)));
  fmt::print("\nThe page is in {}\n", html);
}

}  // namespace fathom::cli
