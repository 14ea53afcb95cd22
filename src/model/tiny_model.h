#pragma once
// Tiny models with weights that are nobody's defaults, and batches for them: what selftest and the tests
// prove things on.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/rng.h"
#include "model/transformer.h"

namespace fathom {

/// Grouped-query attention, an FFN that is no multiple of 8, a head width that is not hidden / heads.
inline ModelConfig tiny_config(NormType type, size_t layers = 4) {
  ModelConfig c;
  c.hidden_size = 24;
  c.intermediate_size = 20;
  c.num_hidden_layers = layers;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_dim = 8;
  c.vocab_size = 37;
  c.max_position_embeddings = 64;
  c.initializer_range = 0.2;
  c.norm.type = type;
  return c;
}

/// Initial weights with every vector moved off its constant, so that a forgotten gain or bias shows.
template <class W>
void randomize(ResidentWeights<W>& weights, uint64_t seed) {
  std::vector<float> initial(weights.count());
  initialize(initial.data(), weights.list(), seed);
  std::copy(initial.begin(), initial.end(), weights.values());
  Rng rng(seed, 77);
  for (const ParamSpec& spec : weights.list()) {
    if (spec.is_matrix()) continue;
    for (size_t i = 0; i < spec.size(); ++i)
      weights.values(spec)[i] += static_cast<Stream<W>>(0.2 * rng.normal());
  }
  weights.refresh();
}

/// A model, its weights, and the order in which they must live.
template <class W>
struct TinyModel {
  explicit TinyModel(const ModelConfig& config, uint64_t seed = 1) : weights(config), model(config, weights) {
    randomize(weights, seed);
  }
  ResidentWeights<W> weights;
  Transformer<W> model;
};

/// Random tokens with their successors as targets.
struct TinyBatch {
  TinyBatch(size_t B, size_t T, size_t vocab_size, uint64_t seed = 3)
      : tokens(B * T), targets(B * T), B_(B), T_(T) {
    Rng rng(seed);
    for (size_t b = 0; b < B; ++b) {
      auto next = static_cast<int32_t>(rng.below(vocab_size));
      for (size_t t = 0; t < T; ++t) {
        tokens[b * T + t] = next;
        next = static_cast<int32_t>(rng.below(vocab_size));
        targets[b * T + t] = next;
      }
    }
  }
  Batch view() const {
    return {B_, T_, tokens.data(), targets.data(), first_key.empty() ? nullptr : first_key.data()};
  }
  std::vector<int32_t> tokens, targets, first_key;

 private:
  size_t B_, T_;
};

}  // namespace fathom
