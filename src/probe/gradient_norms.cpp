#include "probe/gradient_norms.h"

#include <algorithm>
#include <cmath>

#include "kernels/vector_ops.h"

namespace fathom {
namespace {

size_t largest_layer(const std::vector<ParamSpec>& list, size_t num_layers) {
  size_t most = 0;
  for (size_t l = 0; l < num_layers; ++l) most = std::max(most, parameter_count(layer_parameters(list, l)));
  return most;
}

}  // namespace

template <class S>
GradientNorms<S>::GradientNorms(const std::vector<ParamSpec>& list, size_t num_layers, bool several_batches)
    : list_(list), norms_(num_layers) {
  const size_t n = largest_layer(list, num_layers);
  for (size_t l = 0; l < (several_batches ? num_layers : 1); ++l) gradients_.emplace_back(n);
}

template <class S>
size_t GradientNorms<S>::bytes(const std::vector<ParamSpec>& list, size_t num_layers, bool several_batches) {
  return largest_layer(list, num_layers) * sizeof(S) * (several_batches ? num_layers : 1);
}

template <class S>
template <class W>
void GradientNorms<S>::add(Transformer<W>& model, const StreamRecorder<S>& record, const Batch& batch,
                           double grad_scale, const std::function<void(size_t)>& after_each) {
  const size_t L = norms_.size(), rows = batch.rows(), C = model.config().hidden_size;
  Buffer<S> dx(rows * C);
  std::vector<double> nll(rows);
  model.head_backward(dx.data(), nll.data(), record.stream(L), batch.targets, rows, grad_scale);
  const bool one = gradients_.size() == 1;
  for (size_t l = L; l-- > 0;) {
    Buffer<S>& sums = gradients_[one ? 0 : l];
    if (one) sums.zero();
    const std::vector<ParamSpec> specs = layer_parameters(list_, l);
    OuterGradients<S> none;
    std::vector<LayerGradients<S>> views;
    bind_views<S, S>(specs, sums.data(), sums.data(), 1, false, none, views);
    model.layer_backward(l, dx.data(), record.stream(l), batch, views[0]);
    norms_[l] = std::sqrt(sum_squares(sums.data(), parameter_count(specs)));
    record.drop();
    if (after_each) after_each(l);
  }
}

template class GradientNorms<double>;
template class GradientNorms<float>;
#define FATHOM_INSTANTIATE(W)                                                                       \
  template void GradientNorms<Stream<W>>::add<W>(Transformer<W>&, const StreamRecorder<Stream<W>>&, \
                                                 const Batch&, double, const std::function<void(size_t)>&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
