#include "train/optimizer.h"

#include <algorithm>

#include "core/error.h"

namespace fathom {

double clip_factor(double norm, double clip) { return clip > 0 ? std::min(1.0, clip / (norm + 1e-6)) : 1.0; }

template <class S>
typename AdamW<S>::AnyMoments AdamW<S>::make_moments(size_t count, const OptimizerSettings& settings) {
  if constexpr (std::is_same_v<S, float>) {
    if (settings.bf16_state) return Moments<bf16>(count);
  } else if (settings.bf16_state) {
    fail("internal: moments in bf16 beside parameters in double");
  }
  return Moments<S>(count);
}

template <class S>
AdamW<S>::AdamW(const std::vector<ParamSpec>& list, const std::vector<ParamSpec>& trained,
                const OptimizerSettings& settings)
    : settings_(settings), moments_(make_moments(parameter_count(trained), settings)) {
  auto at = list.begin();  // both are in the same order
  for (const ParamSpec& spec : trained) {
    while (at != list.end() && at->name != spec.name) ++at;
    if (at == list.end()) fail("internal: '" + spec.name + "' is trained and not in the list");
    const bool joins = !ranges_.empty() && ranges_.back().decay == spec.decay &&
                       ranges_.back().value + ranges_.back().size == at->offset;
    if (!joins) ranges_.push_back({spec.offset, at->offset, 0, spec.decay});
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
                         .step = ++updates_,
                         .seed = settings_.seed};
  visit_moments([&](auto& moments) {
    for (const Range& r : ranges_) {
      settings.weight_decay = r.decay ? settings_.weight_decay : 0.0;
      settings.first = r.begin;
      adamw_update(values + r.value, moments.m.data() + r.begin, moments.v.data() + r.begin,
                   gradients + r.begin, copy != nullptr ? copy + r.value : nullptr, r.size, settings);
    }
  });
}

template class AdamW<float>;
template class AdamW<double>;

}  // namespace fathom
