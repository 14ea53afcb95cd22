#pragma once
// Where a diagnosis goes besides --json: into the run that it is of, and onto a page.

#include <filesystem>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace fathom::cli {

/// What `fathom prune --sweep --json` wrote to `path`, to stand beside a diagnosis of a model of `layers`
/// layers. Errors: those of read_sweep; Error where it removes a layer that the model does not have.
nlohmann::json read_sweep_file(const std::filesystem::path& path, size_t layers);

/// Whether `path` ("": always) could be written now: asked before work that takes long, so that its result
/// does not find out. Errors: Error (usage) naming `flag`, where its folder is none or lets nobody write, or
/// it is a folder itself.
void check_writable(const std::string& path, const std::string& flag);

/// Leaves `result` as probe.json in a run folder `model`, for `fathom compare`, and writes the page `html`,
/// "" for none, which has `sweep` beside it, or the run's own where that is null. Errors: Error where a file
/// can't be written, or the run's sweep.json is broken.
void keep_probe(const std::string& model, const nlohmann::json& result, const std::string& html,
                nlohmann::json sweep);

}  // namespace fathom::cli
