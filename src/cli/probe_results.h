#pragma once
// Where a diagnosis goes besides --json: into the run that it is of, and onto a page.

#include <filesystem>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace fathom::cli {

/// Leaves `result` as probe.json in a run folder `model`, for `fathom compare`, with the checkpoint that was
/// read ("checkpoint"), and writes the page `html`, "" for none, which has the run's sweep beside it. Errors:
/// Error where a file can't be written, or the run's sweep.json is broken.
void keep_probe(const std::string& model, const std::filesystem::path& checkpoint, nlohmann::json result,
                const std::string& html);

}  // namespace fathom::cli
