#include "eval/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace fathom {

void validate(const SamplingSettings& s) {
  if (!(s.temperature >= 0) || !std::isfinite(s.temperature)) usage_error("--temperature must be 0 or above");
  if (!(s.top_p > 0 && s.top_p <= 1)) usage_error("--top-p must lie in (0, 1]");
}

int32_t sample_token(std::span<const float> logits, const SamplingSettings& s, Rng& rng) {
  if (s.temperature == 0) {
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  size_t kept = s.top_k > 0 ? std::min(s.top_k, order.size()) : order.size();
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(), likelier);

  std::vector<double> weight(kept);
  const double highest = logits[static_cast<size_t>(order[0])];
  double total = 0;
  for (size_t i = 0; i < kept; ++i) {
    weight[i] =
        std::exp((static_cast<double>(logits[static_cast<size_t>(order[i])]) - highest) / s.temperature);
    total += weight[i];
  }
  if (s.top_p < 1) {
    double sum = 0;
    size_t n = 0;
    while (n < kept && sum < s.top_p * total) sum += weight[n++];
    kept = n;
    total = sum;
  }
  double draw = rng.uniform() * total;
  for (size_t i = 0; i < kept; ++i) {
    draw -= weight[i];
    if (draw < 0) return order[i];
  }
  return order[kept - 1];
}

template <class W>
std::vector<int32_t> generate(Transformer<W>& model, std::span<const int32_t> prompt, size_t max_tokens,
                              int32_t eos, const SamplingSettings& settings,
                              const std::function<bool(int32_t)>& on_token) {
  using S = Stream<W>;
  validate(settings);
  const ModelConfig& config = model.config();
  if (prompt.empty()) usage_error("the prompt is empty", "give at least one token");
  if (prompt.size() > config.max_position_embeddings) {
    fail("the prompt has " + std::to_string(prompt.size()) + " tokens, the model's context of " +
             std::to_string(config.max_position_embeddings),
         "shorten the prompt");
  }
  // The last token is sampled and never fed back, so that prompt + new tokens may exceed the cache by one.
  const size_t room = config.max_position_embeddings - prompt.size() + 1;
  max_tokens = std::min(max_tokens, room);
  KvCache<W> cache(config, 1, prompt.size() + max_tokens);
  const Program<S> program = whole_program<S>(config.num_hidden_layers);
  Rng rng(settings.seed, /*stream=*/0x67656e);
  std::vector<S> logits(config.vocab_size);
  const size_t choices =
      std::min(settings.vocab_size > 0 ? settings.vocab_size : logits.size(), logits.size());
  std::vector<int32_t> input(prompt.begin(), prompt.end()), output;
  Buffer<S> x(prompt.size() * config.hidden_size);
  while (output.size() < max_tokens) {
    const Batch batch{1, input.size(), input.data(), nullptr, nullptr};
    model.embed(x.data(), batch);
    model.run(x.data(), program, batch, {}, &cache);
    model.logits(logits.data(), x.data() + (input.size() - 1) * config.hidden_size, 1);
    const int32_t token = sample_token(std::span(logits).first(choices), settings, rng);
    if (token == eos) break;
    output.push_back(token);
    if (on_token && !on_token(token)) break;
    input.assign(1, token);
  }
  return output;
}

template std::vector<int32_t> generate(Transformer<float>&, std::span<const int32_t>, size_t, int32_t,
                                       const SamplingSettings&, const std::function<bool(int32_t)>&);
template std::vector<int32_t> generate(Transformer<bf16>&, std::span<const int32_t>, size_t, int32_t,
                                       const SamplingSettings&, const std::function<bool(int32_t)>&);

}  // namespace fathom
