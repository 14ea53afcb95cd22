#include "train/checkpoints.h"

#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "core/temporary_path.h"
#include "io/checkpoint.h"
#include "io/safetensors.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// Of state.json. Version 1 had what follows from step and settings (tokens, the loader's next window) beside.
constexpr int kVersion = 2;
constexpr std::string_view kTemporary = ".tmp-", kOld = ".old-";

template <class T>
void add_tensors(std::vector<TensorToWrite>& tensors, const char* prefix, const std::vector<ParamSpec>& list,
                 const T* flat) {
  for (const ParamSpec& spec : list)
    tensors.push_back({prefix + spec.name, spec.shape, flat + spec.offset, dtype_of<T>(), dtype_of<T>()});
}

nlohmann::ordered_json state_json(const TrainState& s) {
  nlohmann::ordered_json json = {{"format", "fathom-train-state"}, {"version", kVersion}, {"step", s.step}};
  if (s.seed) json["seed"] = *s.seed;
  if (s.data_seed) json["data_seed"] = *s.data_seed;
  json["data_fingerprint"] = s.data_fingerprint;
  json["settings_fingerprint"] = s.settings_fingerprint;
  if (s.metrics) json["metrics"] = metrics_to_json(*s.metrics);
  return json;
}

std::optional<uint64_t> optional_number(const nlohmann::json& json, const char* key) {
  if (!json.contains(key)) return {};
  return json.at(key).get<uint64_t>();
}

// Only in the type in which it was kept: a conversion would not continue the run's bits.
template <class S>
void read_flat(S* flat, const SafetensorsFile& file, const char* prefix, const std::vector<ParamSpec>& list) {
  for (const ParamSpec& spec : list) {
    const std::string name = prefix + spec.name;
    const TensorView& tensor = file.at(name);
    if (tensor.shape != spec.shape) {
      fail({.what = "is of another shape than the model's parameter",
            .path = file.path().string(),
            .tensor = name,
            .offset = tensor.offset,
            .hint = "does the folder mix two runs?"});
    }
    const StoredType kept = stored_type_of(dtype_of<S>());
    if (tensor.type != kept) {
      fail({.what = fmt::format("holds {}, the run keeps {}", stored_type_name(tensor.type),
                                stored_type_name(kept)),
            .path = file.path().string(),
            .tensor = name,
            .offset = tensor.offset,
            .hint = "was --optimizer-state changed? start a new run with --from"});
    }
    read_tensor(flat + spec.offset, tensor);
  }
}

}  // namespace

Checkpoints::Checkpoints(fs::path folder, fs::path tokenizer, DType stored, uint64_t keep)
    : folder_(std::move(folder)), tokenizer_(std::move(tokenizer)), stored_(stored), keep_(keep) {
  fs::create_directories(folder_);
  remove_leftovers();
}

void Checkpoints::remove_leftovers() {
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kTemporary) || name.starts_with(kOld)) stale.push_back(entry.path());
  }
  for (const fs::path& path : stale) remove(path);
}

void Checkpoints::remove_old() {
  remove_leftovers();  // of the saves before
  if (keep_ == 0) return;
  const std::vector<uint64_t> steps = saved_steps(folder_);
  for (size_t i = 0; i + keep_ < steps.size(); ++i) {
    const fs::path path = folder_ / checkpoint_name(steps[i]);
    const fs::path old = folder_ / (std::string(kOld) + checkpoint_name(steps[i]));
    std::error_code error;
    fs::rename(path, old, error);
    if (error)
      warn_once(path, error);
    else
      remove(old);
  }
}

void Checkpoints::remove(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) warn_once(path, error);
}

void Checkpoints::warn_once(const fs::path& path, const std::error_code& error) {
  if (!warned_of_.insert(path).second) return;
  log_warning(
      fmt::format("{}: can't be deleted: {}; tried again at each save", path.string(), error.message()));
}

template <class W>
fs::path Checkpoints::save(const TrainState& state, Trainee<W>& trainee, AdamW<Stream<W>>& optimizer) {
  const fs::path name = folder_ / checkpoint_name(state.step);
  if (fs::exists(name)) return name;
  TemporaryPath unfinished(name, folder_ / (std::string(kTemporary) + checkpoint_name(state.step)));
  const fs::path& path = unfinished.path();
  fs::create_directories(path);
  trainee.write(path, stored_);
  copy_tokenizer_files(tokenizer_, path);
  std::vector<TensorToWrite> tensors;
  const ParameterStore<W>& store = trainee.store();
  const std::vector<ParamSpec> masters = trainee.rounded_by(stored_);
  add_tensors(tensors, "master.", masters, store.values());
  optimizer.visit_moments([&](const auto& moments) {
    add_tensors(tensors, "m.", trainee.trained(), moments.m.data());
    add_tensors(tensors, "v.", trainee.trained(), moments.v.data());
  });
  write_safetensors(path / "state.safetensors", tensors);
  write_text_file(path / "state.json", state_json(state).dump(2) + "\n");
  unfinished.commit();
  remove_old();
  return name;
}

TrainState read_train_state(const fs::path& checkpoint) {
  const fs::path path = checkpoint / "state.json";
  try {
    const nlohmann::json json = read_json(path);
    const nlohmann::json& version = json.at("version");
    if (json.at("format") != "fathom-train-state" || (version != 1 && version != kVersion)) {
      fail({.what = "is of another version of Fathom",
            .path = path.string(),
            .hint = "resume with the version that wrote it"});
    }
    TrainState state{.step = json.at("step").get<uint64_t>(),
                     .settings_fingerprint = json.at("settings_fingerprint").get<std::string>(),
                     .seed = optional_number(json, "seed"),
                     .data_seed = optional_number(json, "data_seed"),
                     .data_fingerprint = json.value("data_fingerprint", std::string())};
    if (json.contains("metrics")) state.metrics = metrics_from_json(json.at("metrics"));
    return state;
  } catch (const nlohmann::json::exception& e) {
    fail({.what = "is damaged: " + std::string(e.what()).substr(0, 120),
          .path = path.string(),
          .hint = "remove this checkpoint and resume from the one before"});
  }
}

template <class W>
void load_training_state(const fs::path& checkpoint, Trainee<W>& trainee, AdamW<Stream<W>>& optimizer) {
  trainee.read(checkpoint);
  const SafetensorsFile file(checkpoint / "state.safetensors");
  optimizer.visit_moments([&](auto& moments) {
    read_flat(moments.m.data(), file, "m.", trainee.trained());
    read_flat(moments.v.data(), file, "v.", trainee.trained());
  });
  ParameterStore<W>& store = trainee.store();
  std::vector<ParamSpec> masters;
  for (const ParamSpec& spec : store.list()) {
    if (file.tensors().contains("master." + spec.name)) masters.push_back(spec);
  }
  if (!masters.empty()) {
    read_flat(store.values(), file, "master.", masters);
    store.refresh();
  }
  optimizer.set_updates(read_train_state(checkpoint).step);
}

#define FATHOM_INSTANTIATE(W)                                                             \
  template fs::path Checkpoints::save(const TrainState&, Trainee<W>&, AdamW<Stream<W>>&); \
  template void load_training_state(const fs::path&, Trainee<W>&, AdamW<Stream<W>>&);
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
