#include "train/optimizer.h"

#include <algorithm>

namespace fathom {

double clip_factor(double norm, double clip) { return clip > 0 ? std::min(1.0, clip / (norm + 1e-6)) : 1.0; }

template <class S>
AdamW<S>::AdamW(const std::vector<ParamSpec>& list, const OptimizerSettings& settings)
    : settings_(settings), m_(parameter_count(list)), v_(parameter_count(list)) {
  for (const ParamSpec& spec : list) {
    if (ranges_.empty() || ranges_.back().decay != spec.decay)
      ranges_.push_back({spec.offset, 0, spec.decay});
    ranges_.back().size += spec.size();
  }
}

template <class S>
void AdamW<S>::update(S* values, bf16* copy, const S* gradients, double lr, double grad_scale) {
  AdamWSettings settings{.lr = lr,
                         .beta1 = settings_.beta1,
                         .beta2 = settings_.beta2,
                         .eps = settings_.eps,
                         .weight_decay = 0,
                         .grad_scale = grad_scale,
                         .step = ++updates_};
  for (const Range& r : ranges_) {
    settings.weight_decay = r.decay ? settings_.weight_decay : 0.0;
    adamw_update(values + r.begin, m_.data() + r.begin, v_.data() + r.begin, gradients + r.begin,
                 copy != nullptr ? copy + r.begin : nullptr, r.size, settings);
  }
}

template class AdamW<float>;
template class AdamW<double>;

}  // namespace fathom
