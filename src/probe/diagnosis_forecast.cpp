#include "probe/diagnosis_forecast.h"

#include <algorithm>
#include <chrono>

#include <nlohmann/json.hpp>

#include "kernels/gemm.h"
#include "probe/gradient_norms.h"
#include "probe/identity_deviation.h"
#include "probe/lens.h"
#include "probe/usefulness.h"

namespace fathom {
namespace {

double matrix_elements(const ModelConfig& c) {
  const auto C = static_cast<double>(c.hidden_size), F = static_cast<double>(c.intermediate_size);
  return C * static_cast<double>(c.qkv_size()) + C * static_cast<double>(c.q_size()) + 3 * C * F;
}

}  // namespace

uint64_t permuted_tokens(const DiagnosisOptions& options, size_t T) {
  const uint64_t tokens = options.permutation_tokens;
  return tokens == 0 ? 0 : std::max<uint64_t>(1, (tokens + T / 2) / T) * T;
}

uint64_t lens_tokens(const DiagnosisOptions& options, size_t T) {
  return (options.lens_tokens + T - 1) / T * T;
}

DiagnosisCost diagnosis_cost(const DiagnosisOptions& o, const ModelConfig& c, uint64_t tokens, size_t T) {
  const auto n = static_cast<double>(tokens), L = static_cast<double>(c.num_hidden_layers);
  const auto C = static_cast<double>(c.hidden_size);
  // Scores and their product with the values, of half of all pairs.
  const double attention = 2.0 * static_cast<double>(T) * static_cast<double>(c.q_size());
  const double block = 2 * matrix_elements(c) + attention, head = 2 * C * static_cast<double>(c.vocab_size);
  const auto wants = [&](const char* m) { return o.metrics.contains(m); };
  const auto first = [&](uint64_t limit) { return limit == 0 ? n : std::min(n, static_cast<double>(limit)); };

  DiagnosisCost cost;
  cost.pass = n * (L * block + head);
  cost.forward = cost.pass;
  if (wants("lens_loss") || wants("lens_kl") || wants("lens_top5"))
    cost.lens = first(lens_tokens(o, T)) * (L + 1) * head;
  if (wants("causal_score") || wants("effective_depth"))
    cost.removal = n * (L * (L - 1) / 2 * block + L * head);
  if (wants("permutation_score")) {
    // Each pair i < j runs layers i to L - 1: L - 1 - i pairs of L - i layers.
    double runs = 0;
    for (double i = 0; i < L; ++i) runs += (L - 1 - i) * (L - i);
    cost.permutation = first(permuted_tokens(o, T)) * (runs * block + L * (L - 1) / 2 * head);
  }
  // Exact: one product a number of the sequence.
  const double products = o.probes > 0 ? static_cast<double>(o.probes) : static_cast<double>(T) * C;
  if (wants("identity_deviation")) cost.identity = n * L * block * (1 + products);
  if (wants("grad_norm")) cost.gradients = n * (3 * L * block + 2 * head);
  if (wants("usefulness")) {
    const double map = 2 * C * C, fit = 3 * C * C;
    cost.usefulness = n / 2 * (L * (L - 1) / 2 * block + L * head) + n / 2 * L * (map + 2 * fit);
  }
  return cost;
}

double part_of_stage(DiagnosisStage stage, uint64_t items, size_t num_layers) {
  const auto n = static_cast<double>(items), L = static_cast<double>(num_layers);
  switch (stage) {
    case DiagnosisStage::kRemoval:
    case DiagnosisStage::kUsefulness:
      return n * (2 * L - n) / (L * L);
    case DiagnosisStage::kPermutation:
      return num_layers > 1 ? n / (L * (L - 1) / 2) : 1.0;
    case DiagnosisStage::kIdentity:
      return n / L;
    default:
      return 0.0;
  }
}

template <class W>
DiagnosisMemory diagnosis_memory(const DiagnosisOptions& o, const ModelConfig& c, size_t T) {
  using S = Stream<W>;
  const size_t stream = c.hidden_size * sizeof(S), L = c.num_hidden_layers;
  size_t at_once = o.batch_size > 0 ? o.batch_size * T : std::max(T, kDiagnosisRowsAtOnce);
  DiagnosisMemory memory;
  const auto wants = [&](const char* m) { return o.metrics.contains(m); };
  if (wants("identity_deviation") && o.probes == 0) at_once = std::max(at_once, kExactCopies * T);
  const bool backward = wants("grad_norm") || wants("identity_deviation");
  memory.fixed = Transformer<W>::inference_bytes(c, at_once) * (backward ? 3 : 1);
  memory.fixed += 2 * lens_rows(c.vocab_size) * c.vocab_size * sizeof(S);
  const std::vector<ParamSpec> list = parameter_list(c);
  if (wants("grad_norm")) {
    memory.fixed += GradientNorms<S>::bytes(list, L, false);
    memory.gradients_in_passes = GradientNorms<S>::bytes(list, L, true);
  }
  if (wants("usefulness")) {
    memory.usefulness = usefulness_bytes<S>(1, c.hidden_size);
    memory.usefulness_in_passes = usefulness_bytes<S>(L, c.hidden_size);
  }
  memory.spilled_per_row = o.spill.empty() ? 0 : (L + 1) * stream;
  // The streams; the one that runs, its other half, its middle, and a copy that an intervention starts from.
  memory.per_row = (L + 1) * stream + 4 * stream + L * (L + 1) / 2 * sizeof(double);
  return memory;
}

template <class W>
double measured_flops(const ModelConfig& c) {
  using Clock = std::chrono::steady_clock;
  constexpr double kSeconds = 0.25;
  // A slice of the MLP's first product.
  const size_t M = 512, K = c.hidden_size, N = std::min<size_t>(2 * c.intermediate_size, 4096);
  Buffer<W> a(M * K), b(N * K);
  Buffer<Stream<W>> out(M * N);
  constexpr DType kW = dtype_of<W>();
  const auto product = [&] {
    gemm(M, N, K, {a.data(), kW, K}, {b.data(), kW, K, true}, {out.data(), dtype_of<Stream<W>>(), N}, kW);
  };
  product();  // packs, wakes threads, touches memory
  const auto start = Clock::now();
  double elapsed = 0, flop = 0;
  do {
    product();
    flop += 2.0 * static_cast<double>(M) * static_cast<double>(N) * static_cast<double>(K);
    elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  } while (elapsed < kSeconds);
  return flop / elapsed;
}

nlohmann::json forecast_json(const DiagnosisCost& cost, double flops) {
  nlohmann::json parts = nlohmann::json::object();
  const std::pair<const char*, double> named[] = {{"forward", cost.forward},
                                                  {"lens", cost.lens},
                                                  {"removal", cost.removal},
                                                  {"permutation", cost.permutation},
                                                  {"identity_deviation", cost.identity},
                                                  {"gradients", cost.gradients},
                                                  {"usefulness", cost.usefulness}};
  for (const auto& [name, flop] : named) {
    if (flop > 0) parts[name] = flop / flops;
  }
  return {{"tflop", cost.total() / 1e12},
          {"passes", cost.passes()},
          {"seconds", cost.total() / flops},
          {"gflops", flops / 1e9},
          {"seconds_by_part", parts}};
}

#define FATHOM_INSTANTIATE(W)                                                                        \
  template DiagnosisMemory diagnosis_memory<W>(const DiagnosisOptions&, const ModelConfig&, size_t); \
  template double measured_flops<W>(const ModelConfig&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
