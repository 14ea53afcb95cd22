#include "train/settings.h"

#include <charconv>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "core/format.h"
#include "model/lora.h"
#include "model/norm_scheme.h"
#include "model/parameters.h"
#include "train/schedule.h"

namespace fathom {
namespace {

using T = TrainSettings;

constexpr double kHuge = 1e18;
// Four times the largest that anyone trains with; keeps products of sizes from overflowing.
constexpr double kMostTokensPerStep = 1 << 28;
constexpr bool kFixed = true, kFree = false, kYoung = true;
constexpr SettingScope kBoth = SettingScope::kBoth, kTrain = SettingScope::kTrain,
                       kFinetune = SettingScope::kFinetune;

// THE table.
const std::vector<Setting> kTable = {
    {"model", &T::model, 0, 0, kFree, "The model's config.json, or a folder that holds one", kTrain},
    {"data", &T::data, 0, 0, kFree,
     "A folder made by `fathom data`; of finetune: a file of examples (.jsonl), or several, a comma between "
     "them"},
    {"valid_data", &T::valid_data, 0, 0, kFree, "A file of examples to evaluate on (a share of the others)",
     kFinetune},
    {"valid_fraction", &T::valid_fraction, 0, 0.9, kFixed, "Share of the examples to evaluate on", kFinetune,
     kYoung},
    {"task", &T::task, 0, 0, kFixed, "How lines of query, choices and gold are rendered (by the file's name)",
     kFinetune, kYoung},
    {"system", &T::system, 0, 0, kFixed, "System message of conversations that have none", kFinetune, kYoung},
    {"chat_prompts", &T::chat_prompts, 0, 0, kFixed,
     "Lines of prompt and response go through the chat template", kFinetune, kYoung},
    {"last_turn_only", &T::last_turn_only, 0, 0, kFixed, "Of a conversation, only the last answer is learned",
     kFinetune, kYoung},
    {"out", &T::out, 0, 0, kFree, "The run folder to make (with --resume: to continue)"},
    {"from", &T::from, 0, 0, kFixed, "Start from the weights of this checkpoint or run", kTrain},
    {"chat_time", &T::chat_time, 0, 1e12, kFixed,
     "What chat templates take for now, in seconds since 1970 (the start of the run)", kFinetune, kYoung},
    {"norm", &T::norm, 0, 0, kFixed,
     "Normalization scheme: pre, lns, post, deepnorm, mix, sandwich, peri, layerscale, reordered"},
    {"norm_init", &T::norm_init, 0, 0, kFixed,
     "With --norm lns on a Pre-LN checkpoint: preserve (gains times sqrt(l): the function stays) or raw",
     kBoth, kYoung},
    {"train_layers", &T::train_layers, 0, 0, kFixed, "Train these layers alone, such as 20-30 (everything)",
     kBoth, kYoung},
    {"lora_rank", &T::lora_rank, 0, 65536, kFixed, "Train adapters of this rank beside the weights (LoRA)",
     kBoth, kYoung},
    {"lora_alpha", &T::lora_alpha, 0, 1e9, kFixed, "Adapters count alpha / rank times (twice the rank)",
     kBoth, kYoung},
    {"lora_targets", &T::lora_targets, 0, 0, kFixed,
     "Which matrices have adapters: q, k, v, o, gate, up, down, attn, mlp, all (all)", kBoth, kYoung},
    {"init", &T::init, 0, 0, kFixed, "Initial weights: normal, or scaled (o and down over sqrt(2L))", kTrain},
    {"mix_post_layers", &T::mix_post_layers, 0, 4096, kFixed,
     "With --norm mix: how many of the first layers are post (a quarter)", kTrain},
    {"layerscale_init", &T::layerscale_init, 0, 1e3, kFixed, "With --norm layerscale: the initial gain (0.1)",
     kTrain},
    {"steps", &T::steps, 0, kHuge, kFixed, "Updates of the weights (one pass over the data)"},
    {"tokens", &T::tokens, 0, kHuge, kFree,
     "Train on this many tokens, e.g. 20M or 2.2B; instead of --steps"},
    {"epochs", &T::epochs, 0, 1e6, kFree, "Pass over the data this often; instead of --steps"},
    {"batch", &T::batch, 1, 1 << 24, kFixed, "Sequences that go through the model at a time"},
    {"grad_accum", &T::grad_accum, 1, 1 << 24, kFixed, "Batches whose gradients make one step"},
    {"seq", &T::seq, 1, 1 << 24, kFixed, "Tokens of a sequence"},
    {"lr", &T::lr, 0, 1e38, kFixed, "Peak learning rate"},
    {"warmup", &T::warmup, 0, kHuge, kFixed, "Steps over which the rate rises from 0 (a tenth of all)"},
    {"schedule", &T::schedule, 0, 0, kFixed, "How the rate falls after warmup: cosine, wsd, linear"},
    {"min_lr_ratio", &T::min_lr_ratio, 0, 1, kFixed, "Rate at the end, as a share of the peak"},
    {"wsd_decay", &T::wsd_decay, 0, 1, kFixed,
     "With --schedule wsd: share of all steps at the end that decay"},
    {"weight_decay", &T::weight_decay, 0, 1e3, kFixed, "Decoupled weight decay of the matrices"},
    {"clip", &T::clip, 0, 1e30, kFixed, "Clip the gradient to this global norm (0: never)"},
    {"beta1", &T::beta1, 0, 0.999999, kFixed, "AdamW: decay of the first moment"},
    {"beta2", &T::beta2, 0, 0.9999999, kFixed, "AdamW: decay of the second moment"},
    {"adam_eps", &T::adam_eps, 1e-30, 1, kFixed, "AdamW: epsilon"},
    {"seed", &T::seed, 0, kHuge, kFixed, "Decides the initial weights and the order of the data"},
    {"data_seed", &T::data_seed, 0, kHuge, kFixed, "Decides the order of the data (the seed)"},
    {"dtype", &T::dtype, 0, 0, kFixed, "Numbers that products are made of: bf16 (fp32 masters) or fp32"},
    {"optimizer_state", &T::optimizer_state, 0, 0, kFixed,
     "Numbers that AdamW's two moments are kept in: fp32, or bf16 with stochastic rounding", kBoth, kYoung},
    {"recompute", &T::recompute, 0, 0, kFree, "Keep only each layer's input: less memory, a third more time"},
    {"mask_documents", &T::mask_documents, 0, 0, kFixed, "Attention does not cross document ends", kTrain},
    {"eval_every", &T::eval_every, 0, kHuge, kFree,
     "Evaluate every so many steps, and at the end (a twentieth of all, or what costs a sixth; 0: at the "
     "end)"},
    {"eval_tokens", &T::eval_tokens, 1, kHuge, kFree,
     "Held-out tokens to evaluate on: always the first ones"},
    {"probe_every", &T::probe_every, 0, kHuge, kFree,
     "Record variance and gradient norm of each layer every so many steps (as --eval-every; 0: never)"},
    {"save_every", &T::save_every, 0, kHuge, kFree,
     "Save a checkpoint every so many steps, and at the end (a tenth of all; 0: at the end)"},
    {"keep", &T::keep, 0, kHuge, kFree, "Checkpoints to keep, the newest (0: all)"},
    {"save_dtype", &T::save_dtype, 0, 0, kFree, "Numbers in model.safetensors: fp32 or bf16"},
    {"mfu_peak_tflops", &T::mfu_peak_tflops, 0, 1e9, kFree,
     "TFLOP/s that mfu is a share of (0: measured at the start)"},
};

const Setting& row_of(std::string_view name, const std::string& origin) {
  std::vector<std::string> names;
  for (const Setting& s : kTable) {
    if (s.name == name) return s;
    names.emplace_back(s.name);
  }
  const std::string close = nearest(std::string(name), names);
  usage_error(fmt::format("{}: unknown setting '{}'", origin, name),
              close.empty() ? "see fathom train --help" : "did you mean '" + close + "'?");
}

void require_in_bounds(const Setting& s, double value, const std::string& origin) {
  if (value >= s.lowest && value <= s.highest) return;
  usage_error(
      fmt::format("{}: {} is {}, must lie between {} and {}", origin, s.name, value, s.lowest, s.highest));
}

[[noreturn]] void refuse_number(const Setting& s, const std::string& text, const std::string& origin,
                                const std::string& examples) {
  usage_error(fmt::format("{}: {} is '{}', which is not a number", origin, s.name, text), examples);
}

double parse_real(const Setting& s, const std::string& text, const std::string& origin) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || !std::isfinite(value))
    refuse_number(s, text, origin, "such as 0.001 or 1e-3");
  require_in_bounds(s, value, origin);
  return value;
}

uint64_t parse_whole(const Setting& s, const std::string& text, const std::string& origin) {
  const std::optional<double> value = parse_count(text);
  if (!value) refuse_number(s, text, origin, "such as 5000 or 20M");
  require_in_bounds(s, *value, origin);
  if (const std::optional<uint64_t> whole = parse_whole_count(text)) return *whole;
  usage_error(fmt::format("{}: {} is {}, which is not a whole number", origin, s.name, text));
}

bool parse_switch(const Setting& s, const std::string& text, const std::string& origin) {
  if (text == "true" || text == "false") return text == "true";
  usage_error(fmt::format("{}: {} is '{}', must be true or false", origin, s.name, text));
}

void require_one_of(const std::string& name, const std::string& value,
                    const std::vector<std::string>& known) {
  std::string list;
  for (const std::string& k : known) {
    if (k == value) return;
    list += (list.empty() ? "" : ", ") + k;
  }
  const std::string close = nearest(value, known);
  usage_error("unknown --" + name + " '" + value + "'",
              (close.empty() ? "" : "did you mean '" + close + "'? ") + ("known: " + list));
}

}  // namespace

std::string Setting::flag() const {
  std::string flag = "--" + std::string(name);
  for (char& c : flag) {
    if (c == '_') c = '-';
  }
  return flag;
}

const std::vector<Setting>& settings_table() { return kTable; }

void assign(TrainSettings& settings, std::string_view name, const std::string& text,
            const std::string& origin) {
  const Setting& row = row_of(name, origin);
  if (const auto* s = std::get_if<std::string T::*>(&row.member)) settings.*(*s) = text;
  if (const auto* n = std::get_if<uint64_t T::*>(&row.member))
    settings.*(*n) = parse_whole(row, text, origin);
  if (const auto* x = std::get_if<double T::*>(&row.member)) settings.*(*x) = parse_real(row, text, origin);
  if (const auto* b = std::get_if<bool T::*>(&row.member)) settings.*(*b) = parse_switch(row, text, origin);
  if (name == "steps" || name == "tokens" || name == "epochs") {
    if (name != "steps") settings.steps = 0;
    if (name != "tokens") settings.tokens = 0;
    if (name != "epochs") settings.epochs = 0;
  }
}

std::string text_of(const TrainSettings& settings, const Setting& setting) {
  if (const auto* s = std::get_if<std::string T::*>(&setting.member)) return settings.*(*s);
  if (const auto* x = std::get_if<double T::*>(&setting.member)) return fmt::format("{}", settings.*(*x));
  if (const auto* b = std::get_if<bool T::*>(&setting.member)) return settings.*(*b) ? "true" : "false";
  const uint64_t n = settings.*std::get<uint64_t T::*>(setting.member);
  return n == kUnset ? "" : std::to_string(n);
}

void check_settings(const TrainSettings& s) {
  for (const Setting& row : kTable) {
    if (const auto* n = std::get_if<uint64_t T::*>(&row.member); n != nullptr && s.*(*n) != kUnset)
      require_in_bounds(row, static_cast<double>(s.*(*n)), "settings");
    if (const auto* x = std::get_if<double T::*>(&row.member)) require_in_bounds(row, s.*(*x), "settings");
  }
  require_one_of("schedule", s.schedule, schedule_names());
  require_one_of("dtype", s.dtype, {"bf16", "fp32"});
  require_one_of("optimizer-state", s.optimizer_state, {"bf16", "fp32"});
  require_one_of("save-dtype", s.save_dtype, {"bf16", "fp32"});
  if (!s.norm_init.empty()) require_one_of("norm-init", s.norm_init, {"preserve", "raw"});
  if (!s.lora_targets.empty()) parse_lora_targets(s.lora_targets);
  parse_init(s.init);
  const double per_step =
      static_cast<double>(s.batch) * static_cast<double>(s.grad_accum) * static_cast<double>(s.seq);
  if (per_step > kMostTokensPerStep) {
    usage_error(fmt::format("a step of {} x {} x {} tokens is too large, at most {:.0f} are allowed", s.batch,
                            s.grad_accum, s.seq, kMostTokensPerStep),
                "give a smaller --batch, --grad-accum or --seq");
  }
}

TrainSettings finetune_defaults() {
  TrainSettings s;
  s.seq = 512;
  s.epochs = 3;
  s.lr = 0;
  s.weight_decay = 0;
  s.beta2 = 0.999;
  return s;
}

void resolve_finetune_lr(TrainSettings& s) {
  if (s.lr == 0) s.lr = s.lora_rank != kUnset ? 2e-4 : 2e-5;
}

namespace {

// How often to evaluate where nothing is said: a twentieth of all steps, or more rarely where that would take
// more than a sixth of the training's time. A token that is evaluated costs a third of one that is trained.
uint64_t evaluation_interval(uint64_t steps, uint64_t tokens_per_step, uint64_t eval_tokens) {
  const uint64_t affordable = (2 * eval_tokens + tokens_per_step - 1) / tokens_per_step;
  return std::min(steps, std::max({uint64_t{1}, steps / 20, affordable}));
}

}  // namespace

void resolve_settings(TrainSettings& s, uint64_t train_tokens, uint64_t windows, uint64_t eval_tokens) {
  const uint64_t per_step = s.tokens_per_step();
  if (s.steps == 0 && s.tokens == 0 && s.epochs > 0) {
    const double per_pass =
        windows > 0 ? static_cast<double>(windows * s.seq) : static_cast<double>(train_tokens);
    s.steps = std::max<uint64_t>(
        1, static_cast<uint64_t>(std::ceil(s.epochs * per_pass / static_cast<double>(per_step) - 1e-9)));
  }
  if (s.steps == 0) {
    const uint64_t tokens = s.tokens != 0 ? s.tokens : train_tokens;
    s.steps = s.tokens != 0 ? (tokens + per_step - 1) / per_step : std::max<uint64_t>(1, tokens / per_step);
  }
  s.tokens = 0;  // `steps` says it all from here on
  s.epochs = 0;
  const auto share = [&](uint64_t n) { return std::max<uint64_t>(1, s.steps / n); };
  if (s.warmup == kUnset) s.warmup = s.steps / 10;
  if (s.warmup > s.steps) {
    usage_error(fmt::format("--warmup {} is longer than the run of {} steps", s.warmup, s.steps),
                "give fewer");
  }
  if (s.data_seed == kUnset) s.data_seed = s.seed;
  if (s.eval_every == kUnset) s.eval_every = evaluation_interval(s.steps, per_step, eval_tokens);
  if (s.probe_every == kUnset) s.probe_every = s.eval_every;
  if (s.save_every == kUnset) s.save_every = share(10);
}

}  // namespace fathom
