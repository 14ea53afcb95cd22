#include "probe/rounded_weights.h"

#include <cstring>

#include "kernels/vector_ops.h"

namespace fathom {
namespace {

float offset_of(const Storage& storage, const ParamSpec& spec) {
  return static_cast<float>(is_norm_weight(spec.role) ? storage.norm_offset : 0.0);
}

bool is_outer_vector(const ParamSpec& spec) { return spec.layer < 0 && !spec.is_matrix(); }

}  // namespace

std::vector<std::byte> Storage::encode(const std::vector<float>& values, const ParamSpec& spec) const {
  std::vector<float> in_file = values;
  for (float& v : in_file) v -= offset_of(*this, spec);
  std::vector<std::byte> bytes(values.size() * stored_type_info(type).block_bytes);
  if (type == StoredType::kBf16)
    convert(reinterpret_cast<bf16*>(bytes.data()), in_file.data(), in_file.size());
  else
    std::memcpy(bytes.data(), in_file.data(), bytes.size());
  return bytes;
}

void Storage::round(float* values, const ParamSpec& spec) const {
  const float offset = offset_of(*this, spec);
  for (size_t i = 0; i < spec.size(); ++i) {
    const float in_file = values[i] - offset;
    values[i] = (type == StoredType::kBf16 ? static_cast<float>(bf16(in_file)) : in_file) + offset;
  }
}

RoundedWeights::RoundedWeights(const StoredParameters& values, const std::vector<ParamSpec>& list,
                               const Storage& storage)
    : values_(values), list_(list), storage_(storage) {
  size_t count = 0;
  for (const ParamSpec& spec : list) count += is_outer_vector(spec) ? spec.size() : 0;
  vectors_ = Buffer<float>(count);
  float* at = vectors_.data();
  for (const ParamSpec& spec : list) {
    if (spec.role == ParamRole::kEmbedding) embedding_ = head_ = &spec;
    if (spec.role == ParamRole::kHead) head_ = &spec;  // behind the embedding in the list
    if (!is_outer_vector(spec)) continue;
    read(at, spec);
    (spec.role == ParamRole::kEmbedNorm ? outer_.embed_norm : outer_.final_norm) = at;
    at += spec.size();
  }
}

void RoundedWeights::read(float* out, const ParamSpec& spec) const {
  values_.read(out, spec);
  storage_.round(out, spec);
}

const float* RoundedWeights::head() {
  held_layer_ = kNone;
  held_ = Buffer<float>(head_->size());
  read(held_.data(), *head_);
  return held_.data();
}

void RoundedWeights::embed(float* x, const int32_t* tokens, size_t rows, size_t C) {
  for (size_t r = 0; r < rows; ++r)
    values_.read_rows(x + r * C, *embedding_, static_cast<size_t>(tokens[r]), 1);
  ParamSpec taken = *embedding_;
  taken.shape = {rows, C};
  storage_.round(x, taken);
}

LayerWeights<float> RoundedWeights::layer(size_t l) {
  if (l == held_layer_) return views_;
  const std::vector<ParamSpec> specs = layer_parameters(list_, l);
  held_layer_ = kNone;  // until all of it is read
  held_ = Buffer<float>(parameter_count(specs));
  for (const ParamSpec& spec : specs) read(held_.data() + spec.offset, spec);
  OuterWeights<float> none;
  std::vector<LayerViews<float>> views;
  bind_views<const float, const float>(specs, held_.data(), held_.data(), 1, false, none, views);
  views_ = {views[0]};
  held_layer_ = l;
  return views_;
}

}  // namespace fathom
