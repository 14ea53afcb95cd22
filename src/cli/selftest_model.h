#pragma once
// Internal to selftest: the tiny models that it proves things on.

#include <cstdint>
#include <vector>

#include "core/rng.h"
#include "model/transformer.h"

namespace fathom::cli {

/// 4 layers, hidden 24, FFN 40, 3 query heads on 1 key/value head of size 8, vocabulary 29.
inline ModelConfig tiny_config(NormType type) {
  ModelConfig c;
  c.hidden_size = 24;
  c.intermediate_size = 40;
  c.num_hidden_layers = 4;
  c.num_attention_heads = 3;
  c.num_key_value_heads = 1;
  c.head_dim = 8;
  c.vocab_size = 29;
  c.max_position_embeddings = 64;
  c.initializer_range = 0.15;
  c.norm.type = type;
  return c;
}

/// Weights by seed, with norm gains that are not 1, so that a gain that is forgotten shows.
template <class W>
void fill_weights(ResidentWeights<W>& weights, uint64_t seed) {
  std::vector<float> values(weights.count());
  initialize(values.data(), weights.list(), seed);
  Rng rng(seed, 1);
  for (const ParamSpec& spec : weights.list()) {
    if (spec.is_matrix()) continue;
    for (size_t i = 0; i < spec.size(); ++i) {
      values[spec.offset + i] += static_cast<float>(0.2 * rng.normal());
    }
  }
  for (size_t i = 0; i < weights.count(); ++i) weights.values()[i] = static_cast<Stream<W>>(values[i]);
  weights.refresh();
}

/// B sequences of T random tokens and their targets.
struct TinyBatch {
  std::vector<int32_t> tokens, targets;
  Batch batch;

  TinyBatch(const ModelConfig& config, size_t B, size_t T, uint64_t seed = 5)
      : tokens(B * T), targets(B * T) {
    Rng rng(seed);
    for (int32_t& t : tokens) t = static_cast<int32_t>(rng.below(config.vocab_size));
    for (int32_t& t : targets) t = static_cast<int32_t>(rng.below(config.vocab_size));
    batch = {B, T, tokens.data(), targets.data(), nullptr};
  }
};

/// A model with its weights, filled by seed.
template <class W>
struct TinyModel {
  ModelConfig config;
  ResidentWeights<W> weights;
  Transformer<W> model;

  explicit TinyModel(const ModelConfig& c, uint64_t seed = 7)
      : config(c), weights(c), model(config, weights) {
    fill_weights(weights, seed);
  }
  explicit TinyModel(NormType type) : TinyModel(tiny_config(type)) {}

  double mean_loss(const Batch& batch) {
    std::vector<double> nll(batch.rows());
    model.forward(nll.data(), batch);
    double sum = 0;
    for (const double v : nll) sum += v;
    return sum / static_cast<double>(batch.rows());
  }
};

}  // namespace fathom::cli
