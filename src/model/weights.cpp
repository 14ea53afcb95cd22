#include "model/weights.h"

#include <type_traits>

#include "core/threads.h"
#include "kernels/embedding.h"
#include "kernels/vector_ops.h"

namespace fathom {

template <class M, class P>
void bind_views(const std::vector<ParamSpec>& list, M* matrices, P* vectors, size_t num_layers, bool tied,
                OuterTensors<M, P>& outer, std::vector<LayerTensors<M, P>>& layers) {
  layers.assign(num_layers, {});
  for (const ParamSpec& spec : list) {
    M* m = matrices + spec.offset;
    P* v = vectors + spec.offset;
    LayerTensors<M, P>* layer = spec.layer >= 0 ? &layers[static_cast<size_t>(spec.layer)] : nullptr;
    switch (spec.role) {
      case ParamRole::kEmbedding:
        outer.embedding = m;
        break;
      case ParamRole::kEmbedNorm:
        outer.embed_norm = v;
        break;
      case ParamRole::kFinalNorm:
        outer.final_norm = v;
        break;
      case ParamRole::kHead:
        outer.head = m;
        break;
      case ParamRole::kQ:
        layer->q = m;
        break;
      case ParamRole::kK:
        layer->k = m;
        break;
      case ParamRole::kV:
        layer->v = m;
        break;
      case ParamRole::kO:
        layer->o = m;
        break;
      case ParamRole::kGate:
        layer->gate = m;
        break;
      case ParamRole::kUp:
        layer->up = m;
        break;
      case ParamRole::kDown:
        layer->down = m;
        break;
      case ParamRole::kQBias:
        layer->q_bias = v;
        break;
      case ParamRole::kKBias:
        layer->k_bias = v;
        break;
      case ParamRole::kVBias:
        layer->v_bias = v;
        break;
      case ParamRole::kQNorm:
        layer->q_norm = v;
        break;
      case ParamRole::kKNorm:
        layer->k_norm = v;
        break;
      case ParamRole::kAttnNormIn:
        layer->attn.norm_in = v;
        break;
      case ParamRole::kAttnNormOut:
        layer->attn.norm_out = v;
        break;
      case ParamRole::kAttnNormSum:
        layer->attn.norm_sum = v;
        break;
      case ParamRole::kAttnGain:
        layer->attn.gain = v;
        break;
      case ParamRole::kMlpNormIn:
        layer->mlp.norm_in = v;
        break;
      case ParamRole::kMlpNormOut:
        layer->mlp.norm_out = v;
        break;
      case ParamRole::kMlpNormSum:
        layer->mlp.norm_sum = v;
        break;
      case ParamRole::kMlpGain:
        layer->mlp.gain = v;
        break;
    }
  }
  if (tied) outer.head = outer.embedding;
}

template <class W>
void WeightSource<W>::embed(Stream<W>* x, const int32_t* tokens, size_t rows, size_t C) {
  embedding_forward<W>(x, outer().embedding, tokens, rows, C);
}

template <class W>
ResidentWeights<W>::ResidentWeights(const ModelConfig& config, InitScheme init)
    : config_(config),
      list_(parameter_list(config, init)),
      count_(parameter_count(list_)),
      values_(count_),
      copy_(std::is_same_v<W, S> ? 0 : count_) {
  const W* matrices = nullptr;
  if constexpr (std::is_same_v<W, S>)
    matrices = values_.data();
  else
    matrices = copy_.data();
  bind_views<const W, const S>(list_, matrices, values_.data(), config.num_hidden_layers,
                               config.tie_word_embeddings, outer_, layers_);
}

template <class W>
bf16* ResidentWeights<W>::copy() {
  if constexpr (std::is_same_v<W, bf16>)
    return copy_.data();
  else
    return nullptr;
}

template <class W>
void ResidentWeights<W>::refresh() {
  if constexpr (std::is_same_v<W, bf16>) convert(copy_.data(), values_.data(), count_);
}

template <class S>
Gradients<S>::Gradients(const ModelConfig& config, const std::vector<ParamSpec>& list)
    : values_(parameter_count(list)) {
  bind_views<S, S>(list, values_.data(), values_.data(), config.num_hidden_layers, config.tie_word_embeddings,
                   outer_, layers_);
}

template class WeightSource<double>;
template class WeightSource<float>;
template class WeightSource<bf16>;
#define FATHOM_INSTANTIATE(M, P)                                                                           \
  template void bind_views<M, P>(const std::vector<ParamSpec>&, M*, P*, size_t, bool, OuterTensors<M, P>&, \
                                 std::vector<LayerTensors<M, P>>&);
FATHOM_INSTANTIATE(const double, const double)
FATHOM_INSTANTIATE(const float, const float)
FATHOM_INSTANTIATE(const bf16, const float)
FATHOM_INSTANTIATE(double, double)
FATHOM_INSTANTIATE(float, float)
#undef FATHOM_INSTANTIATE
template class ResidentWeights<double>;
template class ResidentWeights<float>;
template class ResidentWeights<bf16>;
template class Gradients<double>;
template class Gradients<float>;

}  // namespace fathom
