#include "model/sequence_loss.h"

#include <cmath>
#include <numeric>

#include "core/ratio_error.h"
#include "kernels/cross_entropy.h"

namespace fathom {

double SequenceLoss::mean() const {
  return std::accumulate(nll.begin(), nll.end(), 0.0) /
         static_cast<double>(std::accumulate(count.begin(), count.end(), uint64_t{0}));
}

double SequenceLoss::perplexity() const { return std::exp(mean()); }

double SequenceLoss::standard_error() const {
  const double ratio = mean();
  double squares = 0, tokens = 0;
  for (size_t i = 0; i < nll.size(); ++i) {
    const double residual = nll[i] - ratio * static_cast<double>(count[i]);
    squares += residual * residual;
    tokens += static_cast<double>(count[i]);
  }
  return ratio_standard_error(squares, nll.size(), tokens);
}

template <class W>
void append_losses(SequenceLoss& loss, Transformer<W>& model, const Batch& batch) {
  std::vector<double> nll(batch.rows());
  model.forward(nll.data(), batch);
  for (size_t b = 0; b < batch.B; ++b) {
    double sum = 0;
    uint64_t count = 0;
    for (size_t i = b * batch.T; i < (b + 1) * batch.T; ++i) {
      if (batch.targets[i] == kIgnoredTarget) continue;
      sum += nll[i];
      ++count;
    }
    loss.nll.push_back(sum);
    loss.count.push_back(count);
  }
}

template void append_losses(SequenceLoss&, Transformer<double>&, const Batch&);
template void append_losses(SequenceLoss&, Transformer<float>&, const Batch&);
template void append_losses(SequenceLoss&, Transformer<bf16>&, const Batch&);

}  // namespace fathom
