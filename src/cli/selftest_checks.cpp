// Checks (a), (b) and (d) of the proof kit: every scheme against the double reference and finite differences,
// its constants, and a perplexity that nothing but model and text decides.

#include "cli/selftest_checks.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/threads.h"
#include "kernels/cross_entropy.h"
#include "kernels/isa.h"
#include "kernels/vector_ops.h"
#include "model/tiny_model.h"

namespace fathom::cli {
namespace {

// Runs fn on each instruction set of the machine and leaves the one that was in force.
template <class Fn>
void on_each_isa(const Fn& fn) {
  const Isa before = active_isa();
  for (const Isa isa : available_isas()) {
    set_active_isa(isa);
    fn(isa);
  }
  set_active_isa(before);
}

const size_t kVocab = tiny_config(NormType::kPre).vocab_size;

template <class W>
double mean_loss(Transformer<W>& model, const Batch& batch) {
  std::vector<double> nll(batch.rows());
  model.forward(nll.data(), batch);
  double sum = 0;
  for (const double v : nll) sum += v;
  return sum / static_cast<double>(batch.rows());
}

// (a) The gradient of every tensor against central differences of the loss, in double.
CheckResult gradients_match_differences(NormType type) {
  TinyModel<double> m(tiny_config(type));
  const TinyBatch data(2, 7, kVocab);
  Gradients<double> gradients(m.model.config(), m.weights.list());
  m.model.forward_backward(data.view(), gradients, 1.0 / static_cast<double>(data.view().rows()));
  Worst worst;
  for (const ParamSpec& spec : m.weights.list()) {
    Rng rng(3, spec.offset);
    for (int draw = 0; draw < 2; ++draw) {
      const size_t i = spec.offset + rng.below(spec.size());
      double& p = m.weights.values()[i];
      constexpr double kStep = 1e-5;
      const double kept = p;
      p = kept + kStep;
      const double up = mean_loss(m.model, data.view());
      p = kept - kStep;
      const double down = mean_loss(m.model, data.view());
      p = kept;
      worst.see(std::abs((up - down) / (2 * kStep) - gradients.values()[i]), spec.name);
    }
  }
  return below(worst.value, 1e-8, "largest difference, in " + worst.where);
}

// (a) Loss and gradient norm of the fast paths against the double reference, on each instruction set.
template <class W>
double distance_from_reference(NormType type) {
  TinyModel<double> reference(tiny_config(type));
  TinyModel<W> fast(tiny_config(type));
  const TinyBatch data(2, 7, kVocab);
  Gradients<double> expected(reference.model.config(), reference.weights.list());
  Gradients<float> got(fast.model.config(), fast.weights.list());
  const double loss = reference.model.forward_backward(data.view(), expected, 1.0);
  Worst worst;
  worst.see(std::abs(fast.model.forward_backward(data.view(), got, 1.0) - loss) / loss);
  double difference = 0;
  for (size_t i = 0; i < got.count(); ++i) {
    const double d = static_cast<double>(got.values()[i]) - expected.values()[i];
    difference += d * d;
  }
  worst.see(std::sqrt(difference / sum_squares(expected.values(), expected.count())));
  return worst.value;
}

CheckResult fast_paths_match_reference(NormType type) {
  Worst fp32, half;
  on_each_isa([&](Isa) {
    fp32.see(distance_from_reference<float>(type));
    half.see(distance_from_reference<bf16>(type));
  });
  // Relative distance of the whole gradient: fp32 rounds at 6e-8 and bf16 at 4e-3 an operation, some tens
  // deep.
  return {fp32.value <= 1e-5 && half.value <= 0.05,
          fmt::format("fp32 {:.1e} (1e-05), bf16 {:.1e} (5e-02), {} instruction sets", fp32.value, half.value,
                      available_isas().size())};
}

// (b) LNS with its gains multiplied by sqrt(l) is Pre-LN.
CheckResult lns_folds_into_pre() {
  TinyModel<double> pre(tiny_config(NormType::kPre)), lns(tiny_config(NormType::kLns));
  for (const ParamSpec& spec : lns.weights.list()) {
    if (spec.role != ParamRole::kAttnNormIn && spec.role != ParamRole::kMlpNormIn) continue;
    for (size_t i = 0; i < spec.size(); ++i) lns.weights.values(spec)[i] *= std::sqrt(spec.layer + 1.0);
  }
  const TinyBatch data(2, 9, kVocab);
  return below(std::abs(mean_loss(pre.model, data.view()) - mean_loss(lns.model, data.view())), 1e-12,
               "difference in loss");
}

// The constants of a scheme in the live layers, and that a block does something at all.
CheckResult constants_are_in_force(NormType type) {
  TinyModel<float> m(tiny_config(type));
  Worst worst;
  for (size_t l = 0; l < m.model.plans().size(); ++l) {
    const StepPlan& plan = m.model.plans()[l].step;
    for (const auto& vectors : {m.weights.layer(l).attn, m.weights.layer(l).mlp}) {
      const MeasuredStep got = measure_step<float>(plan, vectors, m.model.config());
      worst.see(std::abs(got.residual - plan.residual));
      if (plan.norm_in) worst.see(std::abs(got.in_scale - plan.in_scale));
      if (plan.norm_out) worst.see(std::abs(got.out_scale - 1));
      if (plan.norm_sum) worst.see(std::abs(got.sum_scale - 1));
    }
  }
  const TinyBatch data(1, 8, kVocab);
  double least = INFINITY;
  m.model.forward(std::vector<double>(8).data(), data.view(), [&](const Tap<float>& tap) {
    if (tap.before == nullptr) return;
    double change = 0;
    for (size_t i = 0; i < 8 * m.model.config().hidden_size; ++i) {
      change = std::max(change, std::abs(static_cast<double>(tap.after[i] - tap.before[i])));
    }
    least = std::min(least, change);
  });
  return {worst.value <= 1e-3 && least > 1e-3,
          fmt::format("constants within {:.0e}, each step changes the stream by {:.2f} or more", worst.value,
                      least)};
}

CheckResult deepnorm_constants() {
  struct Row {
    size_t L;
    double alpha, beta;
  };
  Worst worst;
  for (const Row& row : {Row{12, 2.2134, 0.3195}, Row{24, 2.6321, 0.2686}, Row{32, 2.8284, 0.2500}}) {
    const NormScheme scheme = resolved({.type = NormType::kDeepNorm}, row.L);
    worst.see(std::abs(scheme.alpha - row.alpha));
    worst.see(std::abs(init_factor(scheme.type, row.L) - row.beta));
  }
  return below(worst.value, 5.1e-5, "from the published four digits");
}

// (d) Perplexity whatever the batch, the threads and the padding.
CheckResult perplexity_is_invariant() {
  TinyModel<float> m(tiny_config(NormType::kLns));
  const TinyBatch data(6, 8, kVocab);
  const size_t before = num_threads();
  const double expected = std::exp(mean_loss(m.model, data.view()));
  Worst worst;
  const auto see = [&](double loss) { worst.see(std::abs(std::exp(loss) - expected)); };
  for (const size_t threads : {1u, 2u, 3u}) {
    set_num_threads(threads);
    for (const size_t B : {1u, 2u, 3u, 6u}) {
      double sum = 0;
      for (size_t b = 0; b < 6; b += B) {
        const Batch part{B, 8, data.tokens.data() + b * 8, data.targets.data() + b * 8, nullptr};
        sum += mean_loss(m.model, part) * static_cast<double>(part.rows());
      }
      see(sum / 48);
    }
  }
  set_num_threads(before);
  // Padded to 11 positions: what stands behind a causal model's text must not count.
  std::vector<int32_t> tokens(6 * 11, 3), targets(6 * 11, kIgnoredTarget);
  for (size_t b = 0; b < 6; ++b) {
    std::copy_n(data.tokens.data() + b * 8, 8, tokens.data() + b * 11);
    std::copy_n(data.targets.data() + b * 8, 8, targets.data() + b * 11);
  }
  see(mean_loss(m.model, {6, 11, tokens.data(), targets.data(), nullptr}) * 66 / 48);
  return below(worst.value, 1e-6 * expected, "largest difference of the perplexity");
}

}  // namespace

std::vector<SelfCheck> self_checks() {
  std::vector<SelfCheck> checks;
  for (const std::string& name : norm_names()) {
    const NormType type = parse_norm(name);
    checks.push_back({name + ": gradients are those of finite differences",
                      [type] { return gradients_match_differences(type); }});
    checks.push_back({name + ": fp32 and bf16 follow the double reference",
                      [type] { return fast_paths_match_reference(type); }});
    checks.push_back(
        {name + ": the scheme's constants are in force", [type] { return constants_are_in_force(type); }});
  }
  checks.push_back({"LNS with gains times sqrt(l) is Pre-LN", lns_folds_into_pre});
  checks.push_back({"DeepNorm's alpha and beta at 12, 24 and 32 layers", deepnorm_constants});
  checks.push_back({"perplexity is the same for all batches, threads, padding", perplexity_is_invariant});
  for (auto* more : {planted_checks, file_checks, evaluation_checks}) {
    for (SelfCheck& check : more()) checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace fathom::cli
