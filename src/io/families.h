#pragma once
// The families of checkpoints: which class of Hugging Face's `transformers` has which parts. One table; a new
// family is a new row and what it adds to ModelConfig.

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "io/json_keys.h"
#include "model/config.h"

namespace fathom {

/// Names of the classes that are read: "LlamaForCausalLM", ...
std::vector<std::string> supported_architectures();

/// Where an architecture that is not supported (Hugging Face's name or GGUF's) is known to take what is not
/// computed yet, that, in brackets behind a space; else "". Mixtures of experts will be another kind of MLP
/// step and latent attention another kind of attention step of StepPlan (model/norm_scheme.h).
std::string what_is_not_computed(const std::string& architecture);

/// Fills what depends on the family (`architectures` or `model_type`; neither: a Llama): head size, biases,
/// windows, RoPE, norms, activation, caps. Sizes are read already; head_dim stays 0 where the file leaves it
/// to hidden_size / heads. Errors: Error for an architecture or a feature that is not supported.
void read_family(const JsonKeys& keys, ModelConfig& config);

/// Writes `architectures`, `model_type` and the family's keys: a stock class where one computes the model
/// exactly, our own (modeling_fathom.py) otherwise. Errors: Error where neither does.
void write_family(const ModelConfig& config, nlohmann::json& out);

}  // namespace fathom
