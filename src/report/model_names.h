#pragma once
// What models are called on a page: by the last part of their path, and by more of it where that is not
// enough.

#include <filesystem>
#include <string>
#include <vector>

#include "report/run.h"

namespace fathom {

/// The last part of `model`, or, where that is empty, of the file that tells of it.
std::string model_name(const std::string& model, const std::filesystem::path& file);

/// Names each run by its folder, with as many of the folders above as it takes to tell them apart, and each
/// diagnosis by its model; where two diagnoses are of one model, the file's name follows in brackets.
void name_models(std::vector<RunRecord>& runs, std::vector<ProbeRecord>& probes);

}  // namespace fathom
