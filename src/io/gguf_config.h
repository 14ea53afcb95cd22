#pragma once
// A config as the metadata of a GGUF file: the other way round from config_from_gguf (gguf_model.h). What
// llama.cpp computes for an architecture, and from which keys: ggml-org/llama.cpp, src/models/*.cpp and
// src/llama-model.cpp.

#include <string>
#include <vector>

#include "io/gguf_writer.h"
#include "model/config.h"

namespace fathom {

/// general.architecture of the model. Errors: Error naming what GGUF has no form for (a scheme, a window, a
/// RoPE), and what can hold it.
std::string gguf_architecture_of(const ModelConfig& config);

/// The keys of the architecture: sizes, RoPE, norms, windows, caps. general.* and tokenizer.* are the
/// caller's.
GgufPairs gguf_config_pairs(const ModelConfig& config, const std::string& architecture);

}  // namespace fathom
