#pragma once
// Where a diagnosis goes besides --json: into the run that it is of, and onto a page.

#include <filesystem>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace fathom::cli {

/// What `fathom prune --sweep --json` wrote to `path`, to stand beside a diagnosis of a model of `layers`
/// layers. Errors: those of read_sweep; Error where it removes a layer that the model does not have.
nlohmann::json read_sweep_file(const std::filesystem::path& path, size_t layers);

/// Writes `result` into a run folder, for `fathom compare`; where that can't be done there is a warning, and
/// no more: it stands in --json too.
void keep_in_run(const std::filesystem::path& path, const nlohmann::json& result);

/// Leaves `result` as probe.json in a run folder `model`, for `fathom compare`, unless the run can't be
/// written to or holds a diagnosis with more metrics (both are said), and writes the page `html`, "" for
/// none, which has `sweep` beside it, or the run's own where that is null. Errors: Error where the page can't
/// be written, or the run's sweep.json is broken.
void keep_probe(const std::string& model, const nlohmann::json& result, const std::string& html,
                nlohmann::json sweep);

}  // namespace fathom::cli
