#include "train/trained_part.h"

#include "core/error.h"
#include "model/layer_list.h"

namespace fathom {

std::vector<bool> parse_train_layers(const std::string& text, size_t num_layers) {
  std::vector<bool> layers(num_layers);
  for (const size_t l : parse_layers(text, num_layers, "--train-layers")) layers[l - 1] = true;
  return layers;
}

LoraConfig lora_of(const TrainSettings& s, size_t num_layers) {
  LoraConfig lora;
  if (s.lora_rank == kUnset) {
    if (s.lora_alpha != 0 || !s.lora_targets.empty())
      usage_error("--lora-alpha and --lora-targets go with --lora-rank", "give --lora-rank, such as 8");
    return lora;
  }
  if (s.lora_rank == 0) usage_error("--lora-rank 0: adapters of rank 0 have nothing to train", "such as 8");
  lora.rank = s.lora_rank;
  lora.alpha = s.lora_alpha != 0 ? s.lora_alpha : 2.0 * static_cast<double>(s.lora_rank);
  lora.targets = parse_lora_targets(s.lora_targets.empty() ? "all" : s.lora_targets);
  if (!s.train_layers.empty()) lora.layers = parse_train_layers(s.train_layers, num_layers);
  return lora;
}

std::vector<ParamSpec> trained_parameters(const TrainSettings& s, const ModelConfig& config) {
  if (config.lora.rank > 0) return adapter_list(config);
  const std::vector<ParamSpec> all = parameter_list(config, parse_init(s.init));
  if (s.train_layers.empty()) return all;
  const std::vector<bool> layers = parse_train_layers(s.train_layers, config.num_hidden_layers);
  return choose(all,
                [&](const ParamSpec& p) { return p.layer >= 0 && layers[static_cast<size_t>(p.layer)]; });
}

double trained_flops_per_token(const ModelConfig& config, const std::vector<ParamSpec>& trained, size_t T) {
  const double forward = train_flops_per_token(config, T) / 3;
  const double head = 2.0 * static_cast<double>(config.vocab_size * config.hidden_size);
  const auto L = static_cast<double>(config.num_hidden_layers);
  const auto first = static_cast<double>(first_trained_layer(trained, config.num_hidden_layers));
  const double attention = 2.0 * L * static_cast<double>(T * config.q_size());
  // Backward of the activations: of the head, and of the layers from the lowest that is trained on; of
  // attention's own products both gradients are activations'.
  const double share = (L - first) / L;
  double flops = forward + head + share * (forward - head + attention);
  // Backward of the weights.
  double all = 0, own = 0;
  for (const ParamSpec& p : parameter_list(config)) {
    const bool counted = p.layer >= 0 && p.is_matrix();
    all += counted ? static_cast<double>(p.size()) : 0;
  }
  bool trains_head = false;
  for (const ParamSpec& p : trained) {
    own += p.layer >= 0 && p.is_matrix() && config.lora.rank == 0 ? static_cast<double>(p.size()) : 0;
    trains_head = trains_head || p.role == ParamRole::kHead ||
                  (p.role == ParamRole::kEmbedding && config.tie_word_embeddings);
  }
  flops += 2 * own + (trains_head ? head : 0);
  return own == all && trains_head && first == 0 ? 3 * forward : flops;
}

template <class S>
void preserve_function(S* gain, const ParamSpec& spec, const ModelConfig& config) {
  if (spec.role != ParamRole::kAttnNormIn && spec.role != ParamRole::kMlpNormIn) return;
  const auto plans = layer_plans(config.norm, config.num_hidden_layers);
  const double factor = 1.0 / plans[static_cast<size_t>(spec.layer)].step.in_scale;
  for (size_t i = 0; i < spec.size(); ++i) gain[i] = static_cast<S>(static_cast<double>(gain[i]) * factor);
}

template void preserve_function(float*, const ParamSpec&, const ModelConfig&);
template void preserve_function(double*, const ParamSpec&, const ModelConfig&);

}  // namespace fathom
