#include "model/weights.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "core/profile.h"
#include "core/threads.h"
#include "kernels/embedding.h"
#include "kernels/vector_ops.h"
#include "model/packed_weights.h"

namespace fathom {

size_t first_trained_layer(const std::vector<ParamSpec>& trained, size_t num_layers) {
  size_t first = num_layers;
  for (const ParamSpec& spec : trained) {
    if (spec.role == ParamRole::kEmbedding || spec.role == ParamRole::kEmbedNorm) return 0;
    if (spec.layer >= 0) first = std::min(first, static_cast<size_t>(spec.layer));
  }
  return first;
}

template <class M, class P>
void bind_view(const ParamSpec& spec, M* m, P* v, OuterTensors<M, P>& outer,
               std::vector<LayerTensors<M, P>>& layers) {
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
    case ParamRole::kLoraA:
      layer->lora[static_cast<size_t>(spec.adapted)].a = m;
      break;
    case ParamRole::kLoraB:
      layer->lora[static_cast<size_t>(spec.adapted)].b = m;
      break;
  }
}

template <class M, class P>
void bind_views(const std::vector<ParamSpec>& list, M* matrices, P* vectors, size_t num_layers, bool tied,
                OuterTensors<M, P>& outer, std::vector<LayerTensors<M, P>>& layers) {
  layers.assign(num_layers, {});
  for (const ParamSpec& spec : list)
    bind_view(spec, matrices + spec.offset, vectors + spec.offset, outer, layers);
  if (tied) outer.head = outer.embedding;
}

template <class W>
void WeightSource<W>::embed(Stream<W>* x, const int32_t* tokens, size_t rows, size_t C) {
  embedding_forward<W>(x, outer().embedding, tokens, rows, C);
}

template <class W>
ParameterStore<W>::ParameterStore(std::vector<ParamSpec> list)
    : list_(std::move(list)),
      count_(parameter_count(list_)),
      values_(count_),
      copy_(std::is_same_v<W, S> ? 0 : count_) {}

template <class W>
const W* ParameterStore<W>::compute() const {
  if constexpr (std::is_same_v<W, S>)
    return values_.data();
  else
    return copy_.data();
}

template <class W>
bf16* ParameterStore<W>::copy() {
  if constexpr (std::is_same_v<W, bf16>)
    return copy_.data();
  else
    return nullptr;
}

template <class W>
void ParameterStore<W>::refresh() {
  if constexpr (std::is_same_v<W, bf16>) convert(copy_.data(), values_.data(), count_);
}

template <class W>
ResidentWeights<W>::ResidentWeights(const ModelConfig& config, InitScheme init)
    : ParameterStore<W>(parameter_list(config, init)), config_(config), packed_(config.num_hidden_layers) {
  bind_views<const W, const S>(this->list(), this->compute(), this->values(), config.num_hidden_layers,
                               config.tie_word_embeddings, outer_, layers_);
}

template <class W>
void ResidentWeights<W>::keep_packed(Packing packing) {
  const size_t units = packed_bytes(config_, packing) / sizeof(uint32_t);
  if (units == 0) return;
  packed_units_ = Buffer<uint32_t>(units);
  uint32_t* next = packed_units_.data();
  for (PackedLayer& layer : packed_) layer = place_packed_layer(next, config_, packing);
  packed_head_ = place_packed_head(next, config_, packing);
  pack();
}

template <class W>
void ResidentWeights<W>::pack(size_t first_layer) {
  if (packed_units_.size() == 0) return;
  const ProfileScope scope("pack weights", 0, 0);
  for (size_t l = first_layer; l < packed_.size(); ++l)
    pack_layer<W>(packed_units_, packed_[l], layers_[l], config_);
  pack_head(packed_units_, packed_head_, outer_.head, config_);
}

template <class W>
size_t ResidentWeights<W>::packed_bytes(const ModelConfig& config, Packing packing) {
  const size_t layers = config.num_hidden_layers * packed_layer_units<W>(config, packing);
  return (layers + packed_head_units<W>(config, packing)) * sizeof(uint32_t);
}

namespace {

// Gradients that several products or sums add to in one pass: all but the projections and the head. An
// embedding that is the head too is made by the head's product, which comes before its own sums.
std::vector<ParamSpec> choose_added_to(const std::vector<ParamSpec>& trained, bool tied) {
  std::vector<ParamSpec> chosen;
  for (const ParamSpec& spec : trained) {
    const bool made_at_once = projection_of(spec.role) || spec.role == ParamRole::kHead ||
                              (tied && spec.role == ParamRole::kEmbedding);
    if (!made_at_once) chosen.push_back(spec);
  }
  return chosen;
}

}  // namespace

template <class S>
Gradients<S>::Gradients(const ModelConfig& config, const std::vector<ParamSpec>& trained)
    : values_(parameter_count(trained)),
      added_to_(choose_added_to(trained, config.tie_word_embeddings)),
      first_layer_(first_trained_layer(trained, config.num_hidden_layers)) {
  bind_views<S, S>(trained, values_.data(), values_.data(), config.num_hidden_layers,
                   config.tie_word_embeddings, outer_, layers_);
}

template <class S>
void Gradients<S>::begin() {
  for (const ParamSpec& spec : added_to_) std::fill_n(values_.data() + spec.offset, spec.size(), S{});
  fresh_ = true;
}

template class ParameterStore<double>;
template class ParameterStore<float>;
template class ParameterStore<bf16>;
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
#define FATHOM_INSTANTIATE(W)                                           \
  template void bind_view(const ParamSpec&, const W*, const Stream<W>*, \
                          OuterTensors<const W, const Stream<W>>&,      \
                          std::vector<LayerTensors<const W, const Stream<W>>>&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
