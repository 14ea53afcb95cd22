#pragma once
// A GGUF file as a model: its metadata as a config. Its tensors: stored_parameters.h.

#include <filesystem>

#include "io/gguf.h"
#include "model/config.h"

namespace fathom {

/// Whether the path names a GGUF file (by its extension).
bool is_gguf(const std::filesystem::path& path);

/// The config that metadata and tensors describe, through the table of families (families.h). Keys: ggml-org/
/// ggml, docs/gguf.md; what a file leaves to llama.cpp's own code (which layers have a window, Gemma's scale
/// of scores) is taken from the family. Errors: Error naming the file and the key: an architecture that is
/// not supported, mixtures of experts, a rotation of a part of the head.
ModelConfig config_from_gguf(const GgufFile& file);

/// The tensor that holds a list of RoPE factors: a part of the config, not a parameter.
inline constexpr const char* kGgufRopeFactors = "rope_freqs.weight";

}  // namespace fathom
