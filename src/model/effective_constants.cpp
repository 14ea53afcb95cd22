#include "model/effective_constants.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fathom {
namespace {

double step_deviation(const StepPlan& plan, const MeasuredStep& m) {
  const double differences[] = {m.residual - plan.residual, plan.norm_in ? m.in_scale - plan.in_scale : 0.0,
                                plan.norm_out ? m.out_scale - 1.0 : 0.0,
                                plan.norm_sum ? m.sum_scale - 1.0 : 0.0};
  double worst = 0;
  for (const double d : differences) {
    if (std::isnan(d)) return std::numeric_limits<double>::quiet_NaN();
    worst = std::max(worst, std::abs(d));
  }
  return worst;
}

}  // namespace

template <class W>
std::vector<LayerConstants> measure_constants(const Transformer<W>& model, WeightSource<W>& weights) {
  using S = Stream<W>;
  const ModelConfig& config = model.config();
  std::vector<LayerConstants> constants;
  const std::vector<LayerPlan> configured = layer_plans(config.norm, config.num_hidden_layers);
  for (size_t l = 0; l < configured.size(); ++l) {
    const LayerWeights<W> layer = weights.layer(l);
    LayerConstants c{configured[l], {}, {}, 0};
    c.attn = measure_step<S>(model.plans()[l].step, layer.attn, config);
    c.mlp = measure_step<S>(model.plans()[l].step, layer.mlp, config);
    const double attn = step_deviation(c.configured.step, c.attn);
    const double mlp = step_deviation(c.configured.step, c.mlp);
    c.deviation = std::isnan(mlp) || mlp > attn ? mlp : attn;
    constants.push_back(c);
  }
  return constants;
}

template std::vector<LayerConstants> measure_constants(const Transformer<double>&, WeightSource<double>&);
template std::vector<LayerConstants> measure_constants(const Transformer<float>&, WeightSource<float>&);
template std::vector<LayerConstants> measure_constants(const Transformer<bf16>&, WeightSource<bf16>&);

}  // namespace fathom
