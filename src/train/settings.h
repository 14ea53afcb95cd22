#pragma once
// Everything that a training run can be told, in one table: the long flags of the command line, the keys of a
// recipe and of run.toml, their bounds, and which of them a resumed run may not change are all read from it.

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fathom {

/// A whole number that nobody gave; resolve_settings or the scheme's own default fills it in.
inline constexpr uint64_t kUnset = std::numeric_limits<uint64_t>::max();

struct TrainSettings {
  // What is trained, on what, and where the run goes.
  std::string model;  ///< config.json, or a folder that holds one; may be empty where `from` is given.
  std::string data;   ///< A folder made by `fathom data`.
  std::string out;    ///< The run folder.
  std::string from;   ///< A checkpoint whose weights the run starts from; empty: random ones.
  bool resume = false;

  // The model's normalization and initial weights.
  std::string norm;  ///< Empty: what the model's config says.
  std::string init = "normal";
  uint64_t mix_post_layers = kUnset;  ///< mix only.
  double layerscale_init = 0;         ///< layerscale only; 0: the scheme's default.
  std::string
      norm_init;  ///< Where norm is not the checkpoint's own: "preserve" its function, or take it "raw".

  // What of the model is trained.
  std::string train_layers;     ///< "20-30": these layers alone; empty: everything.
  uint64_t lora_rank = kUnset;  ///< Adapters of this rank, beside weights that stay as they are.
  double lora_alpha = 0;        ///< 0: twice the rank.
  std::string lora_targets;     ///< Empty: all projections.

  // How long, and how much at a time. Tokens of one step: batch * grad_accum * seq.
  uint64_t steps = 0;   ///< 0: as many as `tokens` asks for.
  uint64_t tokens = 0;  ///< Rounded up to whole steps.
  double epochs = 0;    ///< Passes over the data, rounded up to whole steps. Without all three: one.
  uint64_t batch = 8, grad_accum = 1, seq = 256;

  // Optimizer and schedule.
  double lr = 1e-3;
  uint64_t warmup = kUnset;  ///< Steps; default: a tenth of all.
  std::string schedule = "cosine";
  double min_lr_ratio = 0.1, wsd_decay = 0.2;
  double weight_decay = 0.1, clip = 1.0;
  double beta1 = 0.9, beta2 = 0.95, adam_eps = 1e-8;

  uint64_t seed = 1;  ///< Of the initial weights, and of the data's order unless data_seed is given.
  uint64_t data_seed = kUnset;  ///< Default: seed.
  std::string dtype = "bf16";
  std::string optimizer_state = "fp32";
  bool recompute = false;
  bool mask_documents = false;

  // Fine-tuning on examples.
  std::string valid_data;        ///< Examples to evaluate on; empty: a share of the others.
  double valid_fraction = 0.05;  ///< That share.
  std::string task;              ///< How {"query", ...} lines are rendered; empty: by the file's name.
  std::string system;            ///< System message of conversations that have none.
  bool chat_prompts = false;     ///< {"prompt", "response"} lines are conversations of one question.
  bool last_turn_only = false;   ///< Of a conversation, only the last answer is learned.
  uint64_t chat_time = kUnset;   ///< What templates that write the date take for now, in seconds since 1970.

  // What is watched and kept.
  uint64_t eval_every = kUnset;  ///< 0: only at the end. Default: a twentieth of all steps.
  uint64_t eval_tokens = 131072;
  uint64_t probe_every = kUnset;  ///< 0: never. Default: eval_every.
  uint64_t save_every = kUnset;   ///< 0: only at the end. Default: a tenth of all steps.
  uint64_t keep = 2;              ///< Checkpoints kept; 0: all.
  std::string save_dtype = "fp32";
  double mfu_peak_tflops = 0;  ///< What mfu is a share of; 0: measured at the start.

  uint64_t tokens_per_step() const { return batch * grad_accum * seq; }
};

/// Which command a setting belongs to.
enum class SettingScope { kBoth, kTrain, kFinetune };

/// One row a setting.
struct Setting {
  using Member = std::variant<std::string TrainSettings::*, uint64_t TrainSettings::*,
                              double TrainSettings::*, bool TrainSettings::*>;
  std::string_view name;  ///< Key in a recipe; the flag has '-' for '_'.
  Member member;
  double lowest, highest;  ///< Inclusive; numbers only.
  bool fixed;              ///< Part of what the run computes: a resumed run must have it alike.
  std::string_view help;
  SettingScope scope = SettingScope::kBoth;
  bool young = false;  ///< Came later: at its default it is no part of a run's fingerprint.

  std::string flag() const;
  bool is_switch() const { return std::holds_alternative<bool TrainSettings::*>(member); }
};

/// All rows, in the order of --help and run.toml. `resume` is none: it belongs to one start, not to the run.
const std::vector<Setting>& settings_table();

/// What `fathom finetune` starts from: as TrainSettings{}, with small steps and no weight decay. The learning
/// rate is left open: resolve_finetune_lr().
TrainSettings finetune_defaults();
/// Fills in an open learning rate: 2e-5, with adapters 2e-4.
void resolve_finetune_lr(TrainSettings& settings);

/// Sets one setting from text. Whole numbers take units, powers of 1000: "2.2B" (parse_count).
/// Setting one of `steps`, `tokens` and `epochs` clears the others. `origin` names flag or file in the
/// message. Errors: Error (usage): no such setting (with the nearest), not a number, outside its bounds.
void assign(TrainSettings& settings, std::string_view name, const std::string& text,
            const std::string& origin);

/// The value as assign() reads it; "" where it is not set.
std::string text_of(const TrainSettings& settings, const Setting& setting);

/// Checks each setting alone: the bounds of the table (for settings that did not come through assign()), the
/// names of schedule, dtypes and init, the size of a step. Errors: Error (usage).
void check_settings(const TrainSettings& settings);

/// Fills in what is left open, given the number of training tokens, the windows of a pass over them (0: as
/// many as the tokens fill) and the tokens of an evaluation, and checks how settings fit one another. Errors:
/// Error (usage).
void resolve_settings(TrainSettings& settings, uint64_t train_tokens, uint64_t windows = 0,
                      uint64_t eval_tokens = 0);

}  // namespace fathom
