#pragma once
// Where a diagnosis goes besides --json: into the run that it is of, and onto a page.

#include <filesystem>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace fathom::cli {

/// What `fathom prune --sweep --json` wrote to `path`, to stand beside a diagnosis of a model of `layers`
/// layers. Errors: those of read_sweep; Error where it removes a layer that the model does not have.
nlohmann::json read_sweep_file(const std::filesystem::path& path, size_t layers);

/// Leaves `result` as probe.json in a run folder `model`, for `fathom compare`, with the checkpoint that was
/// read ("checkpoint"), and writes the page `html`, "" for none, which has `sweep` beside it, or the run's
/// own where that is null. Errors: Error where a file can't be written, or the run's sweep.json is broken.
void keep_probe(const std::string& model, const std::filesystem::path& checkpoint, nlohmann::json result,
                const std::string& html, nlohmann::json sweep);

}  // namespace fathom::cli
