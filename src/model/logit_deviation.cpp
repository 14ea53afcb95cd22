#include "model/logit_deviation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/rng.h"

namespace fathom {

size_t trial_rows(const ModelConfig& config) {
  return 2 * std::min<size_t>(32, config.max_position_embeddings);
}

std::vector<float> trial_logits(Transformer<float>& model) {
  return trial_logits(model, whole_program<float>(model.config().num_hidden_layers));
}

std::vector<float> trial_logits(Transformer<float>& model, const Program<float>& program,
                                const Observer<float>& observer) {
  const ModelConfig& config = model.config();
  const size_t rows = trial_rows(config);
  std::vector<int32_t> tokens(rows);
  Rng rng(1);
  for (int32_t& t : tokens) t = static_cast<int32_t>(rng.below(config.vocab_size));
  const Batch batch{.B = 2, .T = rows / 2, .tokens = tokens.data()};
  std::vector<float> x(rows * config.hidden_size), logits(rows * config.vocab_size);
  model.embed(x.data(), batch, observer);
  model.run(x.data(), program, batch, observer);
  model.logits(logits.data(), x.data(), rows);
  return logits;
}

double logit_deviation(std::span<const float> got, std::span<const float> expected, bool same_nans) {
  double largest = 0, worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (same_nans && std::isnan(got[i]) && std::isnan(expected[i])) continue;
    const double d = std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
    // std::max(a, NaN) is a: a NaN would pass every check.
    worst = std::isfinite(d) ? std::max(worst, d) : std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    if (std::isinf(worst)) return worst;
  }
  return worst == 0 ? 0 : worst / largest;
}

}  // namespace fathom
