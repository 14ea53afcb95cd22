#include "model/frozen_weights.h"

#include <algorithm>
#include <type_traits>

#include "kernels/gemm.h"
#include "kernels/vector_ops.h"

namespace fathom {
namespace {

size_t count_of(const std::vector<ParamSpec>& list, bool matrices) {
  size_t n = 0;
  for (const ParamSpec& spec : list) n += spec.is_matrix() == matrices ? spec.size() : 0;
  return n;
}

}  // namespace

template <class W>
FrozenWeights<W>::FrozenWeights(const ModelConfig& config)
    : config_(config),
      list_(parameter_list(config)),
      placed_(list_),
      matrices_(count_of(list_, true)),
      vectors_(count_of(list_, false)) {
  layers_.resize(config.num_hidden_layers);
  size_t matrices = 0, vectors = 0;
  for (ParamSpec& spec : placed_) {
    size_t& next = spec.is_matrix() ? matrices : vectors;
    spec.offset = next;
    next += spec.size();
    bind_view<const W, const S>(spec, spec.is_matrix() ? matrices_.data() + spec.offset : nullptr,
                                spec.is_matrix() ? nullptr : vectors_.data() + spec.offset, outer_, layers_);
  }
  if (config.tie_word_embeddings) outer_.head = outer_.embedding;
}

template <class W>
void FrozenWeights<W>::set(const ParamSpec& spec, const S* values) {
  const auto same = [&](const ParamSpec& p) { return p.name == spec.name; };
  const ParamSpec& place = *std::find_if(placed_.begin(), placed_.end(), same);
  if (!place.is_matrix())
    std::copy_n(values, place.size(), vectors_.data() + place.offset);
  else if constexpr (std::is_same_v<W, S>)
    std::copy_n(values, place.size(), matrices_.data() + place.offset);
  else
    convert(matrices_.data() + place.offset, values, place.size());
}

template <class W>
size_t FrozenWeights<W>::bytes(const ModelConfig& config) {
  const std::vector<ParamSpec> list = parameter_list(config);
  return count_of(list, true) * sizeof(W) + count_of(list, false) * sizeof(S);
}

template <class W>
AdaptedWeights<W>::AdaptedWeights(const ModelConfig& config, WeightSource<W>& base)
    : ParameterStore<W>(adapter_list(config)), base_(base) {
  OuterWeights<W> none;
  bind_views<const W, const Stream<W>>(this->list(), this->compute(), this->values(),
                                       config.num_hidden_layers, false, none, adapters_);
}

template <class W>
LayerWeights<W> AdaptedWeights<W>::layer(size_t l) {
  LayerWeights<W> layer = base_.layer(l);
  layer.lora = adapters_[l].lora;
  return layer;
}

template <class S>
void fold_adapter(S* weight, const S* a, const S* b, size_t out, size_t in, const LoraConfig& lora) {
  constexpr DType kS = dtype_of<S>();
  const size_t r = lora.rank;
  std::vector<S> scaled(out * r);
  scaled_copy(scaled.data(), b, static_cast<S>(lora.scale()), out * r);
  gemm(out, in, r, {scaled.data(), kS, r}, {a, kS, in}, {weight, kS, in}, kS, {weight, in, 1.0});
}

#define FATHOM_INSTANTIATE(W)      \
  template class FrozenWeights<W>; \
  template class AdaptedWeights<W>;
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE
template void fold_adapter(double*, const double*, const double*, size_t, size_t, const LoraConfig&);
template void fold_adapter(float*, const float*, const float*, size_t, size_t, const LoraConfig&);

}  // namespace fathom
