#include "model/memory_plan.h"

#include <algorithm>

#include "kernels/cross_entropy.h"
#include "kernels/scratch.h"
#include "model/frozen_weights.h"

namespace fathom {
namespace {

// Ids of tokens, targets, and where a token's document begins.
constexpr size_t kBytesPerToken = 3 * sizeof(int32_t);

}  // namespace

template <class W>
MemoryPlan plan_memory(const ModelConfig& config, size_t B, size_t T, const MemoryOptions& options) {
  using S = Stream<W>;
  const bool adapters = config.lora.rank > 0;
  // What has masters, and which of that is trained.
  const std::vector<ParamSpec> list = adapters ? adapter_list(config) : parameter_list(config);
  const std::vector<ParamSpec>& trained = adapters || options.trained == nullptr ? list : *options.trained;
  const size_t n = parameter_count(trained), rows = B * T;
  const size_t first_layer = first_trained_layer(trained, config.num_hidden_layers);
  MemoryPlan plan;
  plan.parameters = parameter_count(list) * (sizeof(S) + (sizeof(W) != sizeof(S) ? sizeof(W) : 0));
  if (adapters) plan.parameters += FrozenWeights<W>::bytes(config);
  if (options.packed && !adapters) plan.packed = ResidentWeights<W>::packed_bytes(config, Packing::kTraining);
  plan.gradients = n * sizeof(S);
  plan.optimizer = 2 * n * (options.bf16_state ? sizeof(bf16) : sizeof(S));
  plan.activations =
      Transformer<W>::training_bytes(config, rows, {.recompute = options.recompute}, first_layer);
  plan.logits = std::min(rows, head_chunk_rows(config.vocab_size)) * config.vocab_size * sizeof(S);
  if (options.evaluates) plan.evaluation = Transformer<W>::inference_bytes(config, rows);
  const size_t rope = T * config.head_dim * sizeof(S);
  const size_t ids = (std::max(options.step_sequences, B) + (options.evaluates ? B : 0)) * T * kBytesPerToken;
  const size_t losses = rows * sizeof(double);
  plan.scratch = kernel_scratch_bytes({.compute = dtype_of<W>(),
                                       .T = T,
                                       .HS = config.head_dim,
                                       .C = config.hidden_size,
                                       .F = config.intermediate_size,
                                       .q = config.q_size(),
                                       .kv = config.kv_size(),
                                       .V = config.vocab_size,
                                       .rows = rows,
                                       .caps_scores = config.attention_softcap != 0,
                                       .caps_logits = config.final_softcap != 0}) +
                 rope + ids + losses;
  return plan;
}

template MemoryPlan plan_memory<double>(const ModelConfig&, size_t, size_t, const MemoryOptions&);
template MemoryPlan plan_memory<float>(const ModelConfig&, size_t, size_t, const MemoryOptions&);
template MemoryPlan plan_memory<bf16>(const ModelConfig&, size_t, size_t, const MemoryOptions&);

}  // namespace fathom
