#include "io/parameter_reader.h"

#include <algorithm>

#include "core/error.h"

namespace fathom {
const ParamSpec* ParameterReader::find(const std::string& name) const {
  for (const ParamSpec& spec : list_) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

ReadingWeights::ReadingWeights(const ParameterReader& reader, const ModelConfig& config, Change change)
    : reader_(reader), config_(config), change_(std::move(change)) {
  const std::vector<ParamSpec> list = parameter_list(config);
  size_t largest = 0, next = 0;
  for (size_t l = 0; l < config.num_hidden_layers; ++l) {
    layer_specs_.push_back(layer_parameters(list, l));
    largest = std::max(largest, parameter_count(layer_specs_.back()));
  }
  for (const ParamSpec& spec : list) {
    if (spec.layer >= 0) continue;
    outer_specs_.push_back(spec);
    outer_specs_.back().offset = next;
    next += spec.size();
  }
  outer_ = Buffer<float>(parameter_count(outer_specs_));
  layer_ = Buffer<float>(largest);
  read(outer_, outer_specs_);
  std::vector<LayerViews<float>> none;
  bind_views<const float, const float>(outer_specs_, outer_.data(), outer_.data(), 0,
                                       config_.tie_word_embeddings, outer_views_, none);
}

void ReadingWeights::read(Buffer<float>& values, const std::vector<ParamSpec>& specs) {
  for (const ParamSpec& spec : specs) {
    const ParamSpec* source = reader_.find(spec.name);
    if (source == nullptr) fail("internal: the source has no parameter '" + spec.name + "'");
    reader_.read(values.data() + spec.offset, *source);
    if (change_) change_(values.data() + spec.offset, *source);
  }
}

LayerWeights<float> ReadingWeights::layer(size_t l) {
  read(layer_, layer_specs_[l]);
  std::vector<LayerViews<float>> views;
  OuterWeights<float> none;
  bind_views<const float, const float>(layer_specs_[l], layer_.data(), layer_.data(), 1, false, none, views);
  return {views[0]};
}

}  // namespace fathom
