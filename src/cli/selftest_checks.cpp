#include "cli/selftest_checks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>
#include <unistd.h>

#include "core/error.h"
#include "core/threads.h"
#include "io/checkpoint.h"
#include "kernels/cross_entropy.h"
#include "kernels/isa.h"
#include "kernels/vector_ops.h"
#include "model/tiny_model.h"
#include "probe/divergence.h"
#include "probe/identity_deviation.h"
#include "probe/stream_metrics.h"
#include "train/checkpoints.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

// A folder that goes with the check.
class Scratch {
 public:
  Scratch() : path_(fs::temp_directory_path() / ("fathom-selftest-" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

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

CheckResult below(double value, double limit, const std::string& what) {
  return {value <= limit, fmt::format("{}: {:.1e} (limit {:.0e})", what, value, limit)};  // NaN fails
}

// (a) The gradient of every tensor against central differences of the loss, in double.
CheckResult gradients_match_differences(NormType type) {
  TinyModel<double> m(tiny_config(type));
  const TinyBatch data(2, 7, kVocab);
  Gradients<double> gradients(m.model.config(), m.weights.list());
  m.model.forward_backward(data.view(), gradients, 1.0 / static_cast<double>(data.view().rows()));
  double worst = 0;
  std::string where;
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
      const double error = std::abs((up - down) / (2 * kStep) - gradients.values()[i]);
      if (!(error <= worst)) {
        worst = error;
        where = spec.name;
      }
    }
  }
  return below(worst, 1e-8, "largest difference, in " + where);
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
  double worst = std::abs(fast.model.forward_backward(data.view(), got, 1.0) - loss) / loss;
  double difference = 0;
  for (size_t i = 0; i < got.count(); ++i) {
    const double d = static_cast<double>(got.values()[i]) - expected.values()[i];
    difference += d * d;
  }
  const double relative = std::sqrt(difference / sum_squares(expected.values(), expected.count()));
  return std::isfinite(relative) ? std::max(worst, relative) : INFINITY;
}

CheckResult fast_paths_match_reference(NormType type) {
  double fp32 = 0, bf16_worst = 0;
  on_each_isa([&](Isa) {
    fp32 = std::max(fp32, distance_from_reference<float>(type));
    bf16_worst = std::max(bf16_worst, distance_from_reference<bf16>(type));
  });
  // Relative distance of the whole gradient: fp32 rounds at 6e-8 and bf16 at 4e-3 an operation, some tens
  // deep.
  return {fp32 <= 1e-5 && bf16_worst <= 0.05,
          fmt::format("fp32 {:.1e} (1e-05), bf16 {:.1e} (5e-02), {} instruction sets", fp32, bf16_worst,
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
  double worst = 0;
  for (size_t l = 0; l < m.model.plans().size(); ++l) {
    const StepPlan& plan = m.model.plans()[l].step;
    for (const auto& vectors : {m.weights.layer(l).attn, m.weights.layer(l).mlp}) {
      const MeasuredStep got = measure_step<float>(plan, vectors, m.model.config());
      worst = std::max({worst, std::abs(got.residual - plan.residual),
                        plan.norm_in ? std::abs(got.in_scale - plan.in_scale) : 0.0,
                        plan.norm_out ? std::abs(got.out_scale - 1) : 0.0,
                        plan.norm_sum ? std::abs(got.sum_scale - 1) : 0.0});
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
  return {
      worst <= 1e-3 && least > 1e-3,
      fmt::format("constants within {:.0e}, each step changes the stream by {:.2f} or more", worst, least)};
}

CheckResult deepnorm_constants() {
  struct Row {
    size_t L;
    double alpha, beta;
  };
  double worst = 0;
  for (const Row& row : {Row{12, 2.2134, 0.3195}, Row{24, 2.6321, 0.2686}, Row{32, 2.8284, 0.2500}}) {
    const NormScheme scheme = resolved({.type = NormType::kDeepNorm}, row.L);
    worst = std::max(
        {worst, std::abs(scheme.alpha - row.alpha), std::abs(init_factor(scheme.type, row.L) - row.beta)});
  }
  return below(worst, 5.1e-5, "from the published four digits");
}

// (c) Planted models with known values.
CheckResult planted_directions() {
  const double a[] = {1, 2, -3, 0.5}, opposite[] = {-2, -4, 6, -1};
  double worst = angular_distance(a, a, 4) == 0.0 ? 0.0 : 1.0;  // exactly 0, by no rounding of the cosine
  worst = std::max(worst, std::abs(angular_distance(a, opposite, 4) - 1.0));
  for (double theta = 0.1; theta < 3.1; theta += 0.3) {
    const double x[] = {3, 0}, y[] = {std::cos(theta), std::sin(theta)};
    worst = std::max(worst, std::abs(angular_distance(x, y, 2) - theta / M_PI));
  }
  return below(worst, 1e-7, "angular distance of equal, opposite and rotated vectors");
}

CheckResult planted_identity_layer() {
  TinyModel<float> m(tiny_config(NormType::kPre));
  for (const ParamSpec& spec : m.weights.list()) {
    if (spec.layer == 1 && (spec.role == ParamRole::kO || spec.role == ParamRole::kDown)) {
      std::fill_n(m.weights.values(spec), spec.size(), 0.0f);
    }
  }
  const TinyBatch data(1, 6, kVocab);
  Buffer<float> x(6 * m.model.config().hidden_size);
  m.model.embed(x.data(), data.view());
  const double planted = exact_identity_deviation<float>(m.model, 1, x.data(), data.tokens.data(), 6);
  const double other = exact_identity_deviation<float>(m.model, 2, x.data(), data.tokens.data(), 6);
  return {planted == 0.0 && other > 1e-3,
          fmt::format("identity deviation {:.1e} planted, {:.2f} of another layer", planted, other)};
}

// (d) Perplexity whatever the batch, the threads and the padding.
CheckResult perplexity_is_invariant() {
  TinyModel<float> m(tiny_config(NormType::kLns));
  const TinyBatch data(6, 8, kVocab);
  const size_t before = num_threads();
  double least = INFINITY, most = 0;
  const auto see = [&](double loss) {
    least = std::min(least, loss);
    most = std::max(most, loss);
  };
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
  return below(std::exp(most) - std::exp(least), 1e-6 * std::exp(least), "spread of the perplexity");
}

// (e) Saved, loaded and continued gives the bits of going straight on.
template <class W>
bool resumes_bit_for_bit(const Scratch& scratch) {
  const ModelConfig config = tiny_config(NormType::kLns);
  const auto train = [&](TinyModel<W>& m, AdamW<float>& optimizer, int steps, uint64_t first) {
    Gradients<float> gradients(m.model.config(), m.weights.list());
    for (int s = 0; s < steps; ++s) {
      gradients.zero();
      const TinyBatch data(2, 8, kVocab, first + static_cast<uint64_t>(s));
      m.model.forward_backward(data.view(), gradients, 1.0 / 16);
      optimizer.update(m.weights.values(), m.weights.copy(), gradients.values(), 1e-2, 1.0);
    }
  };
  TinyModel<W> straight(config), resumed(config, 99);
  AdamW<float> a(straight.weights.list(), {}), b(resumed.weights.list(), {});
  train(straight, a, 3, 10);
  const fs::path folder = scratch.path() / std::string(dtype_name(dtype_of<W>()));
  Checkpoints checkpoints(folder, scratch.path(), dtype_of<W>() == DType::kBf16 ? DType::kBf16 : DType::kF32,
                          1);
  TrainState state;
  state.step = 3;
  // Both outlive what shares them here.
  const auto trainee_of = [](TinyModel<W>& m) {
    return WholeModel<W>(std::shared_ptr<ResidentWeights<W>>(std::shared_ptr<void>(), &m.weights),
                         m.weights.list());
  };
  WholeModel<W> saved_model = trainee_of(straight), loaded_model = trainee_of(resumed);
  const fs::path saved = checkpoints.save(state, saved_model, a);
  load_training_state(saved, loaded_model, b);
  train(straight, a, 3, 13);
  train(resumed, b, 3, 13);
  return std::memcmp(straight.weights.values(), resumed.weights.values(),
                     straight.weights.count() * sizeof(float)) == 0;
}

CheckResult resume_is_exact() {
  const Scratch scratch;
  const bool fp32 = resumes_bit_for_bit<float>(scratch), half = resumes_bit_for_bit<bf16>(scratch);
  return {fp32 && half, fmt::format("3 steps, save, load, 3 steps: fp32 {}, bf16 {}",
                                    fp32 ? "equal" : "DIFFERENT", half ? "equal" : "DIFFERENT")};
}

// (f) Written, read back, and compared place by place. The scale is in no file: it is computed from l.
CheckResult checkpoint_round_trip(NormType type) {
  const Scratch scratch;
  TinyModel<float> m(tiny_config(type));
  save_model(scratch.path(), m.model.config(), m.weights.list(), m.weights.values(), DType::kF32);
  TinyModel<float> back(read_config(scratch.path()), 99);
  load_weights(back.weights, scratch.path());
  const TinyBatch data(1, 9, kVocab);
  const Divergence d =
      find_divergence(m.model, m.weights, back.model, back.weights, TokenSequences{data.tokens}, 1, 0.0);
  return {!d.first.has_value() && d.tensors.empty(),
          d.first ? "first divergence at " + d.first->text() : "every place of the forward equal"};
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
    checks.push_back(
        {name + ": a checkpoint computes what was saved", [type] { return checkpoint_round_trip(type); }});
  }
  checks.push_back({"LNS with gains times sqrt(l) is Pre-LN", lns_folds_into_pre});
  checks.push_back({"DeepNorm's alpha and beta at 12, 24 and 32 layers", deepnorm_constants});
  checks.push_back({"planted directions have their angular distances", planted_directions});
  checks.push_back({"a planted identity layer deviates by 0", planted_identity_layer});
  checks.push_back({"perplexity is the same for all batches, threads, padding", perplexity_is_invariant});
  checks.push_back({"a resumed run has the bits of a straight one", resume_is_exact});
  for (SelfCheck& check : evaluation_checks()) checks.push_back(std::move(check));
  return checks;
}

}  // namespace fathom::cli
