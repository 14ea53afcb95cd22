#pragma once
// Which parameters a run trains, and how its weights differ from those that it started from.

#include <string>
#include <vector>

#include "model/frozen_weights.h"
#include "train/settings.h"

namespace fathom {

/// "20-30,5" -> positions 19..29 and 4 set, of num_layers. Errors: Error (usage), naming the flag, on
/// anything else and on layers outside 1..num_layers.
std::vector<bool> parse_train_layers(const std::string& text, size_t num_layers);

/// The adapters that the settings ask for; rank 0 where they ask for none. Errors: Error (usage): a rank of 0
/// beside other settings of adapters, an unknown target, --train-layers as parse_train_layers.
LoraConfig lora_of(const TrainSettings& settings, size_t num_layers);

/// The parameters that are trained: all; those of --train-layers, which leaves embedding, final norm and head
/// as they are; or the adapters of config.lora.
std::vector<ParamSpec> trained_parameters(const TrainSettings& settings, const ModelConfig& config);

/// FLOP of training per token at sequences of T: what train_flops_per_token counts, less the weight gradients
/// of what is frozen and the backward pass below the lowest layer that is trained. Adapters' own products are
/// not counted.
double trained_flops_per_token(const ModelConfig& config, const std::vector<ParamSpec>& trained, size_t T);

/// --norm-init preserve: multiplies the gain of every norm that stands in front of a sublayer by what the
/// scheme of `config` divides its output by, so that the model computes, to rounding, what it computed
/// without the scheme.
template <class S>
void preserve_function(S* gain, const ParamSpec& spec, const ModelConfig& config);

}  // namespace fathom
