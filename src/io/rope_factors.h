#pragma once
// A scaling of RoPE as a list of divisors, one a frequency: the form in which GGUF files hold Llama 3's, as
// the tensor rope_freqs.weight (ggml-org/llama.cpp, convert_hf_to_gguf.py,
// LlamaModel.generate_extra_tensors).

#include <cstddef>
#include <optional>
#include <vector>

#include "model/rope_scaling.h"

namespace fathom {

/// Plain frequencies over scaled ones, HS / 2 of them.
std::vector<float> rope_factors(size_t HS, double theta, const RopeScaling& scaling);

/// Llama 3's constants behind such a list: low and high factor 1 and 4, as all published models have them,
/// and an original context that is a power of two. Nothing where none gives the list within fp32's rounding.
std::optional<RopeScaling> recognize_llama3(size_t HS, double theta, const std::vector<double>& factors);

}  // namespace fathom
