#include "train/run_plan.h"

#include <ctime>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/fnv.h"
#include "core/rng.h"
#include "core/threads.h"
#include "io/checkpoint.h"
#include "kernels/isa.h"
#include "model/parameters.h"
#include "train/example_source.h"
#include "train/machine.h"
#include "train/run_folder.h"
#include "train/trained_part.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKeepsSettings =
    "a resumed run keeps its settings; start a new one (--from takes its weights)";

void require(const std::string& value, const char* flag, const char* hint) {
  if (value.empty()) usage_error(fmt::format("{} is missing", flag), hint);
}

std::string absolute(const std::string& path) {
  return path.empty() ? path : fs::absolute(path).lexically_normal().string();
}

std::string absolute_each(const std::string& paths) {
  std::string all;
  for (const fs::path& path : example_files(paths)) all += (all.empty() ? "" : ",") + absolute(path.string());
  return all;
}

// The scheme that the settings ask for; constants that they leave open are the config's own, where it is of
// the same scheme.
void apply_norm(TrainSettings& s, ModelConfig& config) {
  if (!s.norm.empty()) {
    const NormType type = parse_norm(s.norm);
    if (type != config.norm.type) {
      // A pruned model's layers keep their original indices under the new scheme.
      config.norm = NormScheme{.type = type,
                               .num_layers_original = config.norm.num_layers_original,
                               .layer_index = config.norm.layer_index};
    }
  }
  s.norm = norm_name(config.norm.type);
  const bool mix = config.norm.type == NormType::kMix, gain = config.norm.type == NormType::kLayerScale;
  if (s.mix_post_layers != kUnset && !mix)
    usage_error("--mix-post-layers goes with --norm mix, not " + s.norm, "leave it out");
  if (s.layerscale_init != 0 && !gain)
    usage_error("--layerscale-init goes with --norm layerscale, not " + s.norm, "leave it out");
  if (mix) {
    if (s.mix_post_layers != kUnset) config.norm.post_layers = s.mix_post_layers;
    s.mix_post_layers = resolved(config.norm, config.num_hidden_layers).post_layers;
  }
  if (gain) {
    if (s.layerscale_init != 0) config.norm.layerscale_init = s.layerscale_init;
    s.layerscale_init = config.norm.layerscale_init;
  }
}

ModelConfig read_model(const TrainSettings& s) {
  if (s.model.empty()) return read_config(resolve_model(s.from));
  if (!fs::exists(s.model)) {
    fail({.what = "no such model config",
          .path = s.model,
          .hint = "--model takes a config.json, such as configs/llama-130m.json"});
  }
  return read_config(s.model);
}

// --norm lns on a Pre-LN checkpoint is the one change of scheme that has a meaning for weights that were
// trained: the norms stand where they stood, and only the scale of what they put out differs.
void check_change_of_norm(const TrainSettings& s, const ModelConfig& source, const ModelConfig& config) {
  const std::string change = fmt::format("{} to {}", norm_name(source.norm.type), s.norm);
  if (source.norm.type == config.norm.type) {
    if (!s.norm_init.empty())
      usage_error("--norm-init goes with a --norm that is not the checkpoint's own, which is " + s.norm,
                  "leave it out");
    return;
  }
  if (source.norm.type != NormType::kPre || config.norm.type != NormType::kLns) {
    if (s.norm_init.empty()) return;  // told as another model
    usage_error("--norm-init takes a checkpoint from pre to lns, not from " + change);
  }
  if (s.norm_init.empty()) {
    usage_error(
        "--norm takes a checkpoint from " + change + " and nothing says how",
        "--norm-init preserve multiplies the gains by sqrt(l), so that the function stays; --norm-init raw "
        "takes them as they are");
  }
  if (s.lora_rank != kUnset) {
    usage_error("--norm-init changes the weights that adapters stand beside",
                "fine-tune without --lora-rank, or change the norm in a run of its own first");
  }
}

void check_from(const TrainSettings& s, const ModelConfig& config) {
  const fs::path folder = resolve_model(s.from);
  ModelConfig source = read_config(folder);
  check_change_of_norm(s, source, config);
  if (!s.norm_init.empty()) source.norm.type = config.norm.type;
  const std::string difference = config_difference(source, config);
  if (difference.empty()) return;
  fail({.what = "is a checkpoint of another model: its " + difference,
        .path = (folder / "config.json").string(),
        .hint = "give the --model and --norm of the checkpoint, or leave --model out"});
}

// Checkpoints of other people pad their embedding: there a tokenizer may have fewer entries.
void check_data(const TrainSettings& s, const ModelConfig& config, const DataSource& data) {
  if (s.from.empty() ? data.vocab_size() != config.vocab_size : data.vocab_size() > config.vocab_size) {
    fail({.what = fmt::format("the data's vocabulary has {} entries, the model's {}", data.vocab_size(),
                              config.vocab_size),
          .path = s.data,
          .hint = s.from.empty()
                      ? "set vocab_size in the model's config, or make the data with another tokenizer"
                      : "make the data with the model's own tokenizer"});
  }
}

void check_context(const TrainSettings& s, const ModelConfig& config) {
  if (s.seq > config.max_position_embeddings) {
    usage_error(
        fmt::format("--seq {} does not fit the model's context of {}", s.seq, config.max_position_embeddings),
        "give a smaller --seq, or raise max_position_embeddings in the config");
  }
}

std::shared_ptr<const DataSource> open_data(const TrainSettings& s, const ExampleInput* examples) {
  if (examples != nullptr) return std::make_shared<ExampleSource>(s, *examples);
  if (fs::is_regular_file(s.data))
    usage_error(s.data + ": is a file; training takes a folder made by `fathom data`",
                s.resume ? "a run on examples goes on with: fathom finetune --resume --out " + s.out
                         : "for examples: fathom finetune");
  return std::make_shared<ShardSource>(s.data, s.seq, s.data_seed);
}

// Windows of an evaluation. Without validation text there is none; a run that was told to evaluate says so.
uint64_t plan_evaluation(TrainSettings& s, const DataSource& data) {
  const uint64_t windows = data.validation_windows();
  if (windows == 0) {
    if (s.eval_every != kUnset && s.eval_every != 0) {
      fail({.what = "has no validation tokens for --eval-every",
            .path = s.data,
            .hint = "make the data with a larger --valid-fraction or --valid-input, or give --eval-every 0"});
    }
    s.eval_every = 0;
    return 0;
  }
  return std::min<uint64_t>(windows, (s.eval_tokens + s.seq - 1) / s.seq);
}

// What a resumed run was told must be what it is told now.
void check_resumed_settings(const TrainSettings& s, const TrainSettings& stored) {
  for (const Setting& row : settings_table()) {
    const std::string now = text_of(s, row), before = text_of(stored, row);
    if (row.fixed && now != before) {
      usage_error(fmt::format("{} is '{}', the run was started with '{}'", row.flag(), now, before),
                  kKeepsSettings);
    }
  }
}

void check_resumed_data(const RunPlan& plan, const RunFacts& before) {
  if (plan.facts.data_fingerprint == before.data_fingerprint) return;
  fail({.what = fmt::format("holds other tokens (fingerprint {}) than the run was started with ({})",
                            plan.facts.data_fingerprint, before.data_fingerprint),
        .path = plan.settings.data,
        .hint = "give the --data of the run"});
}

std::string fingerprint_settings(const RunPlan& plan) {
  std::string text = config_to_json(plan.config, DType::kF32).dump() + plan.facts.data_fingerprint;
  for (const Setting& row : settings_table()) {
    // Runs that began before a setting existed keep their fingerprint.
    if (row.young && text_of(plan.settings, row) == text_of(TrainSettings{}, row)) continue;
    if (row.fixed) text += fmt::format("\n{}={}", row.name, text_of(plan.settings, row));
  }
  return fingerprint_text(mix64(fnv1a(text)));
}

ModelConfig config_of_run(TrainSettings& s) {
  const fs::path own = fs::path(s.out) / "config.json";
  // A run that was killed early may not have its config yet.
  ModelConfig config = s.resume && fs::exists(own) ? read_config(own) : read_model(s);
  apply_norm(s, config);
  config.lora = lora_of(s, config.num_hidden_layers);
  if (s.from.empty() && (config.lora.rank > 0 || !s.train_layers.empty()))
    usage_error("--train-layers and --lora-rank leave the rest of a model as it is, and it would be random",
                "give the checkpoint to start from (--from)");
  if (!s.train_layers.empty()) parse_train_layers(s.train_layers, config.num_hidden_layers);
  return config;
}

// The model that is named must be the run's, where its file still stands.
void check_resumed_model(const RunPlan& plan) {
  TrainSettings again = plan.settings;
  if (again.model.empty() || !fs::exists(again.model)) return;
  ModelConfig given = read_model(again);
  apply_norm(again, given);
  const std::string difference = config_difference(given, plan.config);
  if (difference.empty()) return;
  fail({.what = "differs from the run's model: " + difference, .path = again.model, .hint = kKeepsSettings});
}

void check_resume(RunPlan& plan) {
  const fs::path path = fs::path(plan.settings.out) / "run.toml";
  TrainSettings stored;
  read_recipe(stored, path);
  const RunFacts before = read_facts(path);
  check_resumed_settings(plan.settings, stored);
  check_resumed_data(plan, before);
  check_resumed_model(plan);
  plan.facts.started = before.started;
  // Another machine has another peak.
  const RunFacts& now = plan.facts;
  if (before.cpu != now.cpu || before.isa != now.isa || before.threads != now.threads)
    plan.settings.mfu_peak_tflops = 0;
}

}  // namespace

std::string config_difference(const ModelConfig& config, const ModelConfig& expected) {
  nlohmann::json a = config_to_json(config, DType::kF32), b = config_to_json(expected, DType::kF32);
  for (const char* key : {"bos_token_id", "eos_token_id"}) {  // the data's, not the model's
    a.erase(key);
    b.erase(key);
  }
  for (const auto& [key, value] : b.items()) {
    if (!a.contains(key)) return fmt::format("{} is absent, not {}", key, value.dump());
    if (a[key] != value) return fmt::format("{} is {}, not {}", key, a[key].dump(), value.dump());
  }
  for (const auto& [key, value] : a.items()) {
    if (!b.contains(key)) return fmt::format("{} is {}, not absent", key, value.dump());
  }
  return "";
}

RunPlan plan_run(const TrainSettings& given, const ExampleInput* examples) {
  TrainSettings s = given;
  require(s.out, "--out", "name the run folder to make");
  require(s.data, "--data",
          examples != nullptr ? "give a file of examples (.jsonl)" : "give a folder made by `fathom data`");
  if (s.model.empty() && s.from.empty())
    usage_error("--model is missing", "give a config.json, such as configs/llama-130m.json");
  check_settings(s);
  check_run_folder(s.out, s.resume);
  for (std::string* path : {&s.model, &s.out, &s.from}) *path = absolute(*path);
  s.data = examples != nullptr ? absolute_each(s.data) : absolute(s.data);
  s.valid_data = absolute_each(s.valid_data);
  // A run may go on and save another checkpoint: what this one started from is the one that stands there now.
  if (!s.from.empty() && fs::exists(s.from)) s.from = absolute(resolve_model(s.from).string());
  if (s.data_seed == kUnset) s.data_seed = s.seed;
  if (examples != nullptr && s.chat_time == kUnset) s.chat_time = static_cast<uint64_t>(std::time(nullptr));

  ModelConfig config = config_of_run(s);
  check_context(s, config);
  const std::shared_ptr<const DataSource> data = open_data(s, examples);
  check_data(s, config, *data);
  if (config.eos_token_id < 0) config.eos_token_id = data->eos_id();
  validate(config, s.model.empty() ? s.from : s.model);
  if (!s.from.empty() && !s.resume) check_from(s, config);
  if (!s.from.empty() && !s.resume && examples == nullptr) warn_of_other_tokenizer(TokenData(s.data), s.from);
  const uint64_t eval_sequences = plan_evaluation(s, *data);
  resolve_settings(s, data->train_tokens(), examples != nullptr ? data->windows_per_epoch() : 0,
                   eval_sequences * s.seq);

  RunPlan plan{s, config, data, examples != nullptr, {}, {}, eval_sequences};
  plan.facts = {.data_fingerprint = data->fingerprint(),
                .parameters = parameter_count(parameter_list(config)),
                .started = utc_now(),
                .fathom_version = FATHOM_VERSION,
                .cpu = cpu_name(),
                .isa = std::string(isa_name(active_isa())),
                .threads = num_threads()};
  if (s.resume) check_resume(plan);
  plan.settings_fingerprint = fingerprint_settings(plan);
  return plan;
}

}  // namespace fathom
