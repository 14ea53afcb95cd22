#pragma once
// Generation: a KV cache, and a choice among the next token's probabilities.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/rng.h"
#include "model/transformer.h"

namespace fathom {

struct SamplingSettings {
  double temperature = 1.0;  ///< 0: always the likeliest token
  size_t top_k = 0;          ///< keep the k likeliest; 0: all
  double top_p = 1.0;  ///< keep the smallest set of likeliest tokens whose probabilities sum to top_p or more
  uint64_t seed = 0;
  size_t vocab_size = 0;  ///< only ids below, which the tokenizer knows: a model may have rows more; 0: all
};

/// Errors: Error (usage) on a negative temperature or a top_p outside (0, 1].
void validate(const SamplingSettings& settings);

/// One token from logits (V): temperature, then top-k, then top-p (Holtzman et al. 2019, arXiv:1904.09751),
/// as Hugging Face's generate() orders them. Ties go to the lower id. Draws from `rng` once, or not at all at
/// temperature 0.
int32_t sample_token(std::span<const float> logits, const SamplingSettings& settings, Rng& rng);

/// Continues `prompt` (at least one id) by up to `max_tokens` tokens, until `eos` (-1: none) or until the
/// context is full. `on_token` hears each new token and stops the generation by returning false. Returns the
/// new tokens, without eos.
template <class W>
std::vector<int32_t> generate(Transformer<W>& model, std::span<const int32_t> prompt, size_t max_tokens,
                              int32_t eos, const SamplingSettings& settings,
                              const std::function<bool(int32_t)>& on_token = {});

}  // namespace fathom
