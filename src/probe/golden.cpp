#include "probe/golden.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "kernels/vector_ops.h"
#include "probe/identity_deviation.h"
#include "probe/interventions.h"
#include "probe/lens.h"
#include "probe/stream_metrics.h"

namespace fathom {
namespace {

using nlohmann::json;

[[noreturn]] void bad_golden(const std::filesystem::path& path, const std::string& what) {
  fail(
      {.what = what,
       .path = path.string(),
       .hint =
           "a golden directory's file has \"tokens\" [steps][batch][seq+1], \"optimizer\" and \"expected\""});
}

// tokens [steps][batch][seq + 1] -> inputs and targets; all sequences must be of one length.
void read_tokens(Golden& golden, const json& tokens, const std::filesystem::path& path) {
  const auto list_of = [&](const json& value, size_t size) -> const json& {
    if (!value.is_array() || value.empty() || (size > 0 && value.size() != size))
      bad_golden(path, "'tokens' is not a full array of three dimensions");
    return value;
  };
  golden.steps = list_of(tokens, 0).size();
  golden.B = list_of(tokens[0], 0).size();
  golden.T = list_of(tokens[0][0], 0).size() - 1;
  if (golden.T == 0) bad_golden(path, "'tokens' has sequences of a single token");
  for (const json& step : tokens) {
    for (const json& sequence : list_of(step, golden.B)) {
      list_of(sequence, golden.T + 1);
      for (size_t t = 0; t <= golden.T; ++t) {
        if (!sequence[t].is_number_unsigned() || sequence[t].get<uint64_t>() > INT32_MAX)
          bad_golden(path, "'tokens' holds something that is no token id");
        if (t < golden.T) golden.inputs.push_back(sequence[t].get<int32_t>());
        if (t > 0) golden.targets.push_back(sequence[t].get<int32_t>());
      }
    }
  }
}

void read_optimizer(Golden& golden, const json& optimizer, const std::filesystem::path& path) {
  const auto number = [&](const char* key) {
    if (!optimizer.contains(key) || !optimizer[key].is_number())
      bad_golden(path, "'optimizer' has no number '" + std::string(key) + "'");
    return optimizer[key].get<double>();
  };
  if (!optimizer.is_object() || optimizer.value("type", json()) != "adamw")
    bad_golden(path, "'optimizer' is not of type adamw");
  golden.optimizer = {.lr = number("lr"),
                      .beta1 = number("beta1"),
                      .beta2 = number("beta2"),
                      .eps = number("eps"),
                      .weight_decay = number("weight_decay_on_2d")};
  golden.clip = number("clip");
}

// ---- what the live model computes ----

std::vector<double> means(const std::vector<SequenceMean>& metric) {
  std::vector<double> out;
  for (const SequenceMean& m : metric) out.push_back(m.sequences() > 0 ? m.mean() : 0.0);
  return out;
}

json means(const std::vector<std::vector<SequenceMean>>& rows) {
  json out = json::array();
  for (const auto& row : rows) out.push_back(means(row));
  return out;
}

template <class W>
void add_gradient_keys(json& keys, Transformer<W>& model, const ResidentWeights<W>& weights,
                       const Batch& batch) {
  using S = Stream<W>;
  Gradients<S> gradients(weights.config(), weights.list());
  model.forward_backward(batch, gradients, 1.0 / static_cast<double>(batch.rows()));
  double total = 0;
  for (const ParamSpec& spec : weights.list()) {
    const S* g = gradients.values() + spec.offset;
    const double squares = sum_squares(g, spec.size());
    double sum = 0;
    for (size_t i = 0; i < spec.size(); ++i) sum += static_cast<double>(g[i]);
    keys["grad_norm"][spec.name] = std::sqrt(squares);
    keys["grad_sum"][spec.name] = sum;
    total += squares;
  }
  keys["global_grad_norm"] = std::sqrt(total);
}

template <class W>
void add_intervention_keys(json& keys, Transformer<W>& model, const StreamRecorder<Stream<W>>& record,
                           const double* nll, const Batch& batch) {
  const size_t L = record.num_layers();
  LayerRemoval<Stream<W>> removal(L);
  CausalScore<Stream<W>> causal(L);
  removal.add(model, record, nll, batch, &causal);
  keys["loss"] = removal.loss.mean();
  keys["loss_without_layer"] = means(removal.loss_without);
  keys["causal_score"] = means(causal.score);
  LayerPermutation<Stream<W>> permutation(L);
  permutation.add(model, record, nll, batch);
  for (size_t i = 0; i < L; ++i) {
    for (size_t j = 0; j < L; ++j) keys["permutation_score"][i][j] = permutation.score(i, j);
  }
}

template <class W>
void add_stream_keys(json& keys, Transformer<W>& model, const Batch& batch, bool with_identity_deviation) {
  using S = Stream<W>;
  const size_t L = model.plans().size(), C = model.config().hidden_size, V = model.config().vocab_size;
  StreamStatistics<S> statistics(L);
  BlockInfluence<S> influence(L);
  StepContributions<S> steps(L);
  StreamRecorder<S> record(L);
  std::vector<double> nll(batch.rows());
  model.forward(nll.data(), batch, observer_of<S>({&statistics, &influence, &steps, &record}, batch, C));
  keys["hidden_variance"] = means(statistics.variance);
  keys["hidden_rms"] = means(statistics.rms);
  keys["block_influence"] = means(influence.influence);
  keys["attn_contribution"] = means(steps.attn_contribution);
  keys["mlp_contribution"] = means(steps.mlp_contribution);
  keys["attn_cosine"] = means(steps.attn_cosine);
  keys["mlp_cosine"] = means(steps.mlp_cosine);
  AngularDistances<S> angles(L);
  angles.add(record, batch, C);
  keys["angular_distance_all_tokens"] = means(angles.all_tokens);
  keys["angular_distance_last_token"] = means(angles.last_token);
  LogitLens<S> lens(L);
  lens.add(model, record, batch);
  keys["lens_loss"] = means(lens.loss);
  keys["lens_kl"] = means(lens.kl);
  keys["lens_top5"] = means(lens.top5);
  std::vector<S> logits(batch.T * V);
  model.logits(logits.data(), record.stream(L), batch.T);
  keys["logits_first_sequence"] = logits;
  add_intervention_keys(keys, model, record, nll.data(), batch);
  for (size_t l = 0; with_identity_deviation && l < L; ++l) {
    keys[kIdentityDeviationKey].push_back(
        exact_identity_deviation(model, l, record.stream(l), batch.tokens, batch.T));
  }
}

// The loss at each step of a trajectory, before its update.
template <class W>
std::vector<double> trained_losses(Transformer<W>& model, ResidentWeights<W>& weights, const Golden& golden,
                                   const GoldenOptimizer<W>& optimizer, double clip) {
  using S = Stream<W>;
  const std::vector<S> stored(weights.values(), weights.values() + weights.count());
  const GoldenUpdate<S> update = optimizer(weights, golden.optimizer);
  Gradients<S> gradients(weights.config(), weights.list());
  std::vector<double> losses;
  for (size_t step = 0; step < golden.steps; ++step) {
    const Batch batch = golden.batch(step);
    gradients.zero();
    const double scale = 1.0 / static_cast<double>(batch.rows());
    losses.push_back(model.forward_backward(batch, gradients, scale) * scale);
    update(gradients.values(), clip);
  }
  std::copy(stored.begin(), stored.end(), weights.values());
  weights.refresh();
  return losses;
}

// ---- comparison ----

// By what a key's deviation is divided before it is held to a tolerance.
enum class Scale { kLargest, kEachValue, kOne };

struct Rule {
  Scale scale = Scale::kLargest;
  double tolerance = 0;
};

Rule rule_for(const std::string& key, DType dtype) {
  if (dtype == DType::kF64) return {Scale::kLargest, 1e-9};
  const bool is_bf16 = dtype == DType::kBf16;
  if (key == "grad_sum") return {Scale::kLargest, 0};
  if (key == "loss" || key == "grad_norm" || key == "global_grad_norm")
    return {Scale::kEachValue, is_bf16 ? 2e-2 : 1e-5};
  if (key == "permutation_score") return {Scale::kOne, is_bf16 ? 1e-3 : 1e-6};
  if (is_bf16 && key == "lens_top5") return {Scale::kLargest, 5e-2};
  if (is_bf16 && (key == "attn_cosine" || key == "mlp_cosine")) return {Scale::kLargest, 0};
  return {Scale::kLargest, is_bf16 ? 2e-2 : 1e-4};
}

struct Leaf {
  std::string place;
  double expected, computed;
};

// Pairs the numbers of two values of the same shape; returns what is wrong with the shape, or "".
std::string collect(std::vector<Leaf>& leaves, const json& expected, const json& computed,
                    const std::string& place) {
  if (expected.is_number() && computed.is_number()) {
    leaves.push_back({place, expected.get<double>(), computed.get<double>()});
    return {};
  }
  const bool arrays = expected.is_array() && computed.is_array();
  const bool objects = expected.is_object() && computed.is_object();
  if (!arrays && !objects) return "is not of the expected kind at '" + place + "'";
  if (objects) {
    for (const auto& [name, value] : computed.items()) {
      if (!expected.contains(name)) return "expected.json lacks [" + name + "]";
    }
    for (const auto& [name, value] : expected.items()) {
      if (!computed.contains(name)) return "the model has no [" + name + "]";
      const std::string problem = collect(leaves, value, computed[name], place + "[" + name + "]");
      if (!problem.empty()) return problem;
    }
    return {};
  }
  if (expected.size() != computed.size()) {
    return "has " + std::to_string(computed.size()) + " entries" + (place.empty() ? "" : " at " + place) +
           ", expected.json " + std::to_string(expected.size());
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const std::string problem =
        collect(leaves, expected[i], computed[i], place + "[" + std::to_string(i) + "]");
    if (!problem.empty()) return problem;
  }
  return {};
}

KeyDeviation compare_key(const std::string& key, const json& expected, const json& computed, DType dtype) {
  const Rule rule = rule_for(key, dtype);
  KeyDeviation result{.key = key, .tolerance = rule.tolerance, .worst = {}, .problem = {}};
  std::vector<Leaf> leaves;
  result.problem = collect(leaves, expected, computed, "");
  if (!result.problem.empty()) return result;
  double largest = 0;
  for (const Leaf& leaf : leaves) largest = std::max(largest, std::abs(leaf.expected));
  for (const Leaf& leaf : leaves) {
    const double scale = rule.scale == Scale::kOne       ? 1.0
                         : rule.scale == Scale::kLargest ? std::max(1.0, largest)
                                                         : std::max(std::abs(leaf.expected), 1e-6 * largest);
    const double difference = std::abs(leaf.computed - leaf.expected);
    if (!std::isfinite(difference)) {
      result.problem = "is not finite at '" + leaf.place + "'";
      return result;
    }
    if (difference == 0) continue;
    if (difference / scale > result.deviation) {
      result.deviation = difference / scale;
      result.worst = leaf.place;
    }
  }
  return result;
}

}  // namespace

Batch Golden::batch(size_t step) const {
  const size_t at = step * B * T;
  return {.B = B, .T = T, .tokens = inputs.data() + at, .targets = targets.data() + at};
}

Golden read_golden(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "expected.json";
  const json file = parse_json_or_discard(read_text_file(path));
  if (file.is_discarded()) bad_golden(path, "is not valid JSON");
  if (!file.is_object() || !file.contains("tokens") || !file.contains("optimizer") ||
      !file.contains("expected") || !file["expected"].is_object())
    bad_golden(path, "is not a golden file");
  Golden golden;
  read_tokens(golden, file["tokens"], path);
  read_optimizer(golden, file["optimizer"], path);
  golden.expected = file["expected"];
  return golden;
}

template <class W>
json compute_golden(Transformer<W>& model, ResidentWeights<W>& weights, const Golden& golden,
                    const GoldenOptimizer<W>& optimizer, bool with_identity_deviation) {
  json keys;
  const Batch batch = golden.batch(0);
  add_stream_keys(keys, model, batch, with_identity_deviation);
  add_gradient_keys(keys, model, weights, batch);
  keys["adamw_losses"] = trained_losses(model, weights, golden, optimizer, 0);
  keys["adamw_clip_losses"] = trained_losses(model, weights, golden, optimizer, golden.clip);
  return keys;
}

std::vector<KeyDeviation> compare_golden(const json& expected, const json& computed, DType dtype) {
  std::vector<KeyDeviation> result;
  for (const auto& [key, value] : expected.items()) {
    if (computed.contains(key)) {
      result.push_back(compare_key(key, value, computed[key], dtype));
    } else {
      result.push_back({.key = key, .worst = {}, .problem = "is a key that this program does not know"});
    }
  }
  for (const auto& [key, value] : computed.items()) {
    if (!expected.contains(key))
      result.push_back({.key = key, .worst = {}, .problem = "is missing from expected.json"});
  }
  return result;
}

#define FATHOM_INSTANTIATE(W)                                                          \
  template json compute_golden<W>(Transformer<W>&, ResidentWeights<W>&, const Golden&, \
                                  const GoldenOptimizer<W>&, bool);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
