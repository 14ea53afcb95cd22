#include "train/start_report.h"

#include <filesystem>

#include <fmt/format.h>

#include "core/cores.h"
#include "core/error.h"
#include "core/format.h"
#include "core/log.h"
#include "io/run_checkpoints.h"
#include "train/memory_check.h"
#include "train/recipe.h"
#include "train/trained_part.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// One step's constants: only those that its plan has.
std::string step_text(const StepPlan& plan, const MeasuredStep& m) {
  std::string text;
  const auto add = [&](bool there, const char* name, double value) {
    if (there) text += fmt::format("{}{} {:.5f}", text.empty() ? "" : ", ", name, value);
  };
  add(plan.norm_in, "norm in x", m.in_scale);
  add(plan.norm_out, "norm out x", m.out_scale);
  add(plan.norm_sum, "norm of sum x", m.sum_scale);
  add(plan.gain, "gain x", m.gain);
  add(true, "residual x", m.residual);
  return text;
}

std::string layer_text(const LayerConstants& c) {
  const std::string attn = step_text(c.configured.step, c.attn), mlp = step_text(c.configured.step, c.mlp);
  return attn == mlp ? attn : "attention: " + attn + "; MLP: " + mlp;
}

// The share of the parameters that is trained: other programs were found to leave some out without a word.
std::string trained_text(const RunPlan& plan) {
  const TrainSettings& s = plan.settings;
  const size_t own = parameter_count(trained_parameters(s, plan.config));
  const LoraConfig& lora = plan.config.lora;
  if (lora.rank == 0) {
    return fmt::format("{} of {} parameters ({:.4g}%){}", count_text(own), count_text(plan.facts.parameters),
                       100 * static_cast<double>(own) / static_cast<double>(plan.facts.parameters),
                       s.train_layers.empty() ? "" : ": layers " + s.train_layers);
  }
  std::string targets;
  for (const Projection p : kAllProjections) {
    if (lora.has(p)) targets += (targets.empty() ? "" : ",") + std::string(projection_name(p));
  }
  return fmt::format("adapters of rank {}, alpha {:g}, beside {}{}: {} parameters ({:.4g}% of the model's)",
                     lora.rank, lora.alpha, targets,
                     s.train_layers.empty() ? "" : " of layers " + s.train_layers, count_text(own),
                     100 * static_cast<double>(own) / static_cast<double>(plan.facts.parameters));
}

// Whether the run that `checkpoint` belongs to may delete it: not where it is the run's last step, or where
// it keeps all.
bool may_be_deleted(const fs::path& checkpoint) {
  const fs::path run_toml = checkpoint.parent_path().parent_path() / "run.toml";
  if (checkpoint.parent_path().filename() != "checkpoints" || !fs::exists(run_toml)) return false;
  try {
    TrainSettings owner;
    read_recipe(owner, run_toml);
    return owner.keep != 0 && checkpoint.filename() != checkpoint_name(owner.steps);
  } catch (const Error&) {
    return true;  // of another version, perhaps
  }
}

// Adapters ask for their base at each save, and whenever they are opened.
void warn_of_passing_base(const RunPlan& plan) {
  const std::string& base = plan.settings.from;
  if (plan.config.lora.rank == 0 || !may_be_deleted(base)) return;
  log_warning(base +
              ": the adapters' base is a checkpoint of a run that has not ended; when that run goes on it "
              "deletes it, and the adapters are lost: copy the folder and give the copy with --from, or let "
              "that run end first");
}

}  // namespace

void report_run(const RunPlan& plan, const MemoryPlan& memory, uint64_t available) {
  const TrainSettings& s = plan.settings;
  const ModelConfig& c = plan.config;
  log_info(
      fmt::format("model          {}: {} parameters, {} layers, hidden {}, FFN {}, {} heads ({} kv), "
                  "vocabulary {}{}",
                  s.model.empty() ? s.from : s.model, count_text(plan.facts.parameters), c.num_hidden_layers,
                  c.hidden_size, c.intermediate_size, c.num_attention_heads, c.num_key_value_heads,
                  c.vocab_size, c.tie_word_embeddings ? ", tied" : ""));
  log_info(fmt::format("normalization  {}: {}; {}", s.norm, norm_description(c.norm.type),
                       s.norm_init.empty() ? "init " + s.init : "of a Pre-LN checkpoint, " + s.norm_init));
  log_info("trained        " + trained_text(plan));
  log_info(fmt::format("data           {}: {}, fingerprint {}", s.data, plan.data->description(),
                       plan.facts.data_fingerprint));
  const uint64_t tokens = s.steps * s.tokens_per_step();
  log_info(
      fmt::format("length         {} steps of {} tokens ({} x {} x {}) = {} tokens, {:.2f} times the data",
                  s.steps, s.tokens_per_step(), s.batch, s.grad_accum, s.seq, count_text(tokens),
                  static_cast<double>(s.steps * s.batch * s.grad_accum) /
                      static_cast<double>(plan.data->windows_per_epoch())));
  log_info(fmt::format("optimizer      AdamW, moments in {}",
                       s.optimizer_state == "bf16" ? "bf16 with stochastic rounding" : "fp32"));
  log_info(fmt::format("machine        {}, {}, {} threads on {}, {}; {:.3g} TFLOP/s at most", plan.facts.cpu,
                       plan.facts.isa, plan.facts.threads, usable_cores().text(), s.dtype,
                       s.mfu_peak_tflops));
  log_info(fmt::format("memory         {} of {} available: {}", bytes_text(memory.total()),
                       bytes_text(available), memory_parts(memory)));
  if (c.norm.type == NormType::kLns && s.init == "scaled") {
    log_warning(
        "--norm lns with --init scaled: the paper finds that scaled initial weights take LNS's gain "
        "away; use --init normal");
  }
  warn_of_passing_base(plan);
  if (plan.eval_sequences == 0) log_warning(s.data + ": has no validation tokens; the run is not evaluated");
}

void check_constants(const std::vector<LayerConstants>& constants) {
  log_info("constants in force, measured by sending random signs through each live norm:");
  for (size_t begin = 0, end = 0; begin < constants.size(); begin = end) {
    const std::string text = layer_text(constants[begin]);
    for (end = begin + 1; end < constants.size() && layer_text(constants[end]) == text;) ++end;
    const size_t first = constants[begin].configured.index, last = constants[end - 1].configured.index;
    log_info(fmt::format("  layer {:<8} {}",
                         first == last ? std::to_string(first) : fmt::format("{}-{}", first, last), text));
  }
  for (const LayerConstants& c : constants) {
    if (c.deviation <= kConstantTolerance) continue;
    fail(fmt::format("layer {}: measured constants ({}) are off the configured by {:.2e}, more than {:.0e}",
                     c.configured.index, layer_text(c), c.deviation, kConstantTolerance),
         "the normalization scheme is not in force");
  }
}

}  // namespace fathom
