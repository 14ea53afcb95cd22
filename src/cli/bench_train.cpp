// fathom bench train | forward: whole steps of a model of a given shape on random tokens, everything
// included, in tokens a second and as a fraction of the peak measured in the same run.

#include <cmath>

#include <fmt/format.h>

#include "cli/bench.h"
#include "cli/bench_breakdown.h"
#include "cli/bench_memory.h"
#include "cli/model_loading.h"
#include "core/error.h"
#include "core/format.h"
#include "core/profile.h"
#include "core/rng.h"
#include "core/threads.h"
#include "kernels/vector_ops.h"
#include "train/machine.h"
#include "train/memory_check.h"
#include "train/optimizer.h"

namespace fathom::cli {
namespace {

struct Settings {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::string model = "configs/llama-130m.json", norm, dtype = "bf16", optimizer_state = "fp32";
  size_t batch = 8, seq = 256, grad_accum = 2, steps = 5;
  bool recompute = false, breakdown = false;
};

// Random tokens and targets of one micro-batch.
struct RandomBatch {
  std::vector<int32_t> tokens, targets;
  Batch batch;
  RandomBatch(const ModelConfig& config, size_t B, size_t T, uint64_t seed) : tokens(B * T), targets(B * T) {
    Rng rng(seed);
    for (int32_t& t : tokens) t = static_cast<int32_t>(rng.below(config.vocab_size));
    for (int32_t& t : targets) t = static_cast<int32_t>(rng.below(config.vocab_size));
    batch = {B, T, tokens.data(), targets.data(), nullptr};
  }
};

ModelConfig shape_of(const Settings& s) {
  ModelConfig config = read_config(s.model);
  if (!s.norm.empty()) config.norm = NormScheme{.type = parse_norm(s.norm)};
  return config;
}

bool keeps_bf16_state(const Settings& s) { return parse_dtype(s.optimizer_state) == DType::kBf16; }

// What a step was forecast to take, and what the process has held at most. `before`: at its start.
struct MemoryUse {
  MemoryPlan plan;
  uint64_t before = resident_memory();
  uint64_t planned() const { return plan.total() + before; }
};

void print_memory(const MemoryUse& memory, nlohmann::json& result) {
  const uint64_t peak = peak_resident_memory();
  fmt::print("memory: {} planned ({}; {} at the start), {} at the peak\n", bytes_text(memory.planned()),
             memory_parts(memory.plan), bytes_text(memory.before), bytes_text(peak));
  result["planned_bytes"] = memory.planned();
  result["peak_bytes"] = peak;
}

// Times `step`, and prints and writes what came out: `tokens` a step, `flops` a token. With --breakdown, as
// many steps again are profiled; the rate stays that of the steps that were not.
void measure(const Settings& s, const std::string& name, double tokens, double flops,
             const std::function<void()>& step, const MemoryUse* memory = nullptr) {
  const double before = peak_flops(parse_dtype(s.dtype), num_threads());
  const Timing t = time_calls(step, static_cast<int>(s.steps), 0.0);
  const double peak = std::max(before, peak_flops(parse_dtype(s.dtype), num_threads()));
  const double rate = tokens / t.median_s;
  fmt::print(
      "{}: {:.0f} tokens/s (median of {}, spread {:.0f}%), {:.1f} GFLOP/s, {:.1f}% of the {} peak of {:.1f} "
      "GFLOP/s\n",
      name, rate, s.steps, 100 * t.spread(), flops * rate / 1e9, 100 * flops * rate / peak, s.dtype,
      peak / 1e9);
  nlohmann::json result = bench_result(peak);
  result["results"].push_back({{"name", name},
                               {"tflops", flops * rate / 1e12},
                               {"fraction_of_peak", flops * rate / peak},
                               {"tokens_per_second", rate},
                               {"spread", t.spread()}});
  if (memory != nullptr) print_memory(*memory, result["results"].back());
  if (s.breakdown) {
    const Roofline roof{peak, memory_bandwidth(memory_mix("copy").mix)};
    Profile profile;
    double seconds = 0;
    for (size_t i = 0; i < s.steps; ++i) seconds += time_once(step);
    fmt::print(
        "roofline: {:.1f} GFLOP/s, {:.1f} GB/s (copy); a step of {:.3f} s profiled, {:.3f} s without\n",
        peak / 1e9, roof.bandwidth / 1e9, seconds / static_cast<double>(s.steps), t.median_s);
    result["breakdown"] = report_breakdown(profile, seconds / static_cast<double>(s.steps), s.steps, roof);
    result["bandwidth_gbytes_per_second"] = roof.bandwidth / 1e9;
  }
  write_result(*s.common, result);
}

template <class W>
void bench_train(const Settings& s) {
  using S = Stream<W>;
  const ModelConfig config = shape_of(s);
  const auto plan = [&](bool packed) {
    return plan_memory<W>(config, s.batch, s.seq,
                          {.recompute = s.recompute, .bf16_state = keeps_bf16_state(s), .packed = packed});
  };
  const uint64_t available = available_memory().value_or(UINT64_MAX);
  const MemoryUse memory{plan_packed_if_it_fits(plan, available)};
  require_memory(memory.plan, available, "give --recompute, --optimizer-state bf16 or a smaller --batch");
  ResidentWeights<W> weights(config);
  initialize(weights.values(), weights.list(), 1);
  weights.refresh();
  if (memory.plan.packed > 0) weights.keep_packed(Packing::kTraining);
  Transformer<W> model(config, weights);
  Gradients<S> gradients(config, weights.list());
  OptimizerSettings settings;
  settings.bf16_state = keeps_bf16_state(s);
  AdamW<S> optimizer(weights.list(), settings);
  const RandomBatch random(config, s.batch, s.seq, 1);
  const double tokens = static_cast<double>(random.batch.rows() * s.grad_accum);
  const auto step = [&] {
    gradients.begin();
    for (size_t i = 0; i < s.grad_accum; ++i) {
      model.forward_backward(random.batch, gradients, 1.0 / tokens, {.recompute = s.recompute});
    }
    const double norm = std::sqrt(sum_squares(gradients.values(), gradients.count()));
    // p, m and v read and written, g read, the bf16 copy written.
    const size_t copy_bytes = weights.copy() != nullptr ? sizeof(bf16) : 0;
    {
      const ProfileScope scope("optimizer", 0,
                               static_cast<double>(weights.count() * (7 * sizeof(S) + copy_bytes)));
      optimizer.update(weights.values(), weights.copy(), gradients.values(), 1e-4, clip_factor(norm, 1.0));
    }
    weights.pack();
  };
  measure(s, "train " + std::filesystem::path(s.model).stem().string(), tokens,
          train_flops_per_token(config, s.seq), step, &memory);
}

template <class W>
void bench_forward(const Settings& s) {
  const ModelConfig config = shape_of(s);
  ResidentWeights<W> weights(config);
  initialize(weights.values(), weights.list(), 1);
  weights.refresh();
  weights.keep_packed(Packing::kForward);
  Transformer<W> model(config, weights);
  const RandomBatch random(config, s.batch, s.seq, 1);
  std::vector<double> nll(random.batch.rows());
  measure(s, "forward " + std::filesystem::path(s.model).stem().string(), static_cast<double>(nll.size()),
          train_flops_per_token(config, s.seq) / 3, [&] { model.forward(nll.data(), random.batch); });
}

Command add_model_bench(Command bench, const std::string& name, const std::string& description,
                        const std::shared_ptr<Settings>& s) {
  Command c = add_command(bench, name, description,
                          "fathom bench " + name + " --model configs/llama-130m.json", s->common);
  c.option("--model", s->model, "config.json of the shape").shows_default();
  c.option("--norm", s->norm, "Normalization scheme (default: the config's)");
  c.option("--dtype", s->dtype, "bf16 or fp32").shows_default();
  c.option("--batch", s->batch, "Sequences a micro-batch").range(1, 1 << 16).shows_default();
  c.option("--seq", s->seq, "Tokens a sequence").range(1, 1 << 20).shows_default();
  c.option("--steps", s->steps, "Timed steps").range(1, 1 << 20).shows_default();
  c.flag("--breakdown", s->breakdown, "Where the time goes, by kind of operation, against the roofline");
  return c;
}

}  // namespace

void add_bench_train(Command bench) {
  auto s = std::make_shared<Settings>();
  Command c = add_model_bench(bench, "train", "Training steps: forward, backward, clipping, AdamW", s);
  c.option("--grad-accum", s->grad_accum, "Micro-batches a step").range(1, 1 << 20).shows_default();
  c.option("--optimizer-state", s->optimizer_state, "Type of AdamW's moments: fp32 or bf16").shows_default();
  c.flag("--recompute", s->recompute, "Recompute activations in the backward pass");
  c.runs([s] {
    apply(*s->common);
    with_dtype(parse_dtype(s->dtype), [&]<class W>() { bench_train<W>(*s); });
  });
}

void add_bench_forward(Command bench) {
  auto s = std::make_shared<Settings>();
  Command c = add_model_bench(bench, "forward", "The forward pass with its loss (perplexity)", s);
  c.runs([s] {
    apply(*s->common);
    with_dtype(parse_dtype(s->dtype), [&]<class W>() { bench_forward<W>(*s); });
  });
}

}  // namespace fathom::cli
