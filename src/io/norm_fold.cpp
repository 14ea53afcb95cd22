#include "io/norm_fold.h"

#include "core/error.h"

namespace fathom {
namespace {

std::vector<float> read_values(const ParameterReader& reader, const ParamSpec& spec) {
  std::vector<float> values(spec.size());
  reader.read(values.data(), spec);
  return values;
}

}  // namespace

NormFold::NormFold(const ParameterReader& reader)
    : from_(reader.config().norm.type),
      config_(reader.config()),
      plans_(layer_plans(config_.norm, config_.num_hidden_layers)),
      attn_gains_(config_.num_hidden_layers),
      mlp_gains_(config_.num_hidden_layers) {
  if (from_ != NormType::kPre && from_ != NormType::kLns && from_ != NormType::kLayerScale) {
    usage_error("--fold-norm-scale: the scheme '" + std::string(norm_name(from_)) +
                    "' can't be folded into the weights of a Pre-LN model",
                "lns and layerscale can; --format hf without folding holds every scheme");
  }
  config_.norm = NormScheme{.type = NormType::kPre};
  for (const ParamSpec& spec : reader.list()) {
    const auto l = static_cast<size_t>(spec.layer);
    if (spec.role == ParamRole::kAttnGain) attn_gains_[l] = read_values(reader, spec);
    if (spec.role == ParamRole::kMlpGain) mlp_gains_[l] = read_values(reader, spec);
  }
}

bool NormFold::changes(ParamRole role) const {
  if (from_ == NormType::kLns) return role == ParamRole::kAttnNormIn || role == ParamRole::kMlpNormIn;
  if (from_ == NormType::kLayerScale) return role == ParamRole::kO || role == ParamRole::kDown;
  return false;
}

void NormFold::apply(float* values, const ParamSpec& spec) const {
  if (!changes(spec.role)) return;
  const auto l = static_cast<size_t>(spec.layer);
  if (from_ == NormType::kLns) {
    for (size_t i = 0; i < spec.size(); ++i)
      values[i] = static_cast<float>(static_cast<double>(values[i]) * plans_[l].step.in_scale);
    return;
  }
  const std::vector<float>& gain = spec.role == ParamRole::kO ? attn_gains_[l] : mlp_gains_[l];
  const size_t columns = spec.shape[1];
  for (size_t r = 0; r < spec.shape[0]; ++r) {
    for (size_t i = 0; i < columns; ++i) values[r * columns + i] *= gain[r];
  }
}

}  // namespace fathom
