#include "train/trainee.h"

#include <utility>

#include "io/adapter.h"
#include "io/checkpoint.h"

namespace fathom {

template <class W>
void WholeModel<W>::pack() {
  weights_->pack(first_trained_layer(this->trained(), weights_->config().num_hidden_layers));
}

template <class W>
void WholeModel<W>::write(const std::filesystem::path& folder, DType stored) {
  const ResidentWeights<W>& weights = *weights_;
  save_model(folder, weights.config(), weights.list(), weights.values(), stored);
}

template <class W>
void WholeModel<W>::read(const std::filesystem::path& folder) {
  load_weights(*weights_, folder);
}

template <class W>
std::vector<ParamSpec> WholeModel<W>::rounded_by(DType stored) {
  std::vector<ParamSpec> rounded = Trainee<W>::rounded_by(stored);
  if (!rounded.empty() || weights_->config().norm_weight_offset == 0) return rounded;
  for (const ParamSpec& spec : weights_->list()) {
    if (is_norm_weight(spec.role)) rounded.push_back(spec);
  }
  return rounded;
}

template <class W>
AdaptedModel<W>::AdaptedModel(const ModelConfig& config, std::filesystem::path base)
    : Trainee<W>(adapter_list(config)),
      config_(config),
      base_path_(std::move(base)),
      base_(config),
      adapters_(config, base_) {
  load_weights(base_, base_path_);
}

template <class W>
void AdaptedModel<W>::write(const std::filesystem::path& folder, DType stored) {
  const AdaptedWeights<W>& adapters = adapters_;
  save_adapter(folder, config_, adapters.list(), adapters.values(), base_path_, stored);
}

template <class W>
void AdaptedModel<W>::read(const std::filesystem::path& folder) {
  load_adapter(adapters_.values(), adapters_.list(), folder);
  adapters_.refresh();
}

template class WholeModel<float>;
template class WholeModel<bf16>;
template class AdaptedModel<float>;
template class AdaptedModel<bf16>;

}  // namespace fathom
