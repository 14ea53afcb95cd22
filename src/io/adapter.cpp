#include "io/adapter.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/rng.h"
#include "io/checkpoint.h"
#include "io/gguf_model.h"
#include "io/io_error.h"
#include "io/json_text.h"
#include "io/safetensors.h"
#include "io/stored_parameters.h"
#include "kernels/vector_ops.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kConfigName = "adapter_config.json";
constexpr const char* kTensorsName = "adapter_model.safetensors";
constexpr const char* kBaseFingerprint = "base_fingerprint";

json read_config_json(const fs::path& adapter) {
  const fs::path path = adapter / kConfigName;
  return parse_json_object(read_text_file(path, kMaxConfigBytes), path);
}

[[noreturn]] void refuse(const fs::path& adapter, const std::string& key, const std::string& what,
                         const std::string& hint = {}) {
  fail_file(adapter / kConfigName, "'" + key + "' " + what, hint);
}

// A key that is absent or null has its neutral value.
void require_neutral(const json& config, const fs::path& adapter, const char* key, const json& neutral) {
  if (!config.contains(key) || config[key].is_null() || config[key] == neutral) return;
  if (config[key].empty() && neutral.empty() && config[key].is_structured()) return;
  refuse(adapter, key, "is " + config[key].dump() + ", which is not computed", "plain LoRA is");
}

// How A and B began is history, but for the ways that take something off the base's matrices when PEFT loads
// the adapter (PiSSA, OLoRA, CorDA, LoftQ): beside the base as it is stored they are another model.
void require_base_unchanged(const json& config, const fs::path& adapter) {
  constexpr const char* kKey = "init_lora_weights";
  const json init = config.value(kKey, json());
  if (init.is_null() || init.is_boolean() || init == "gaussian" || init == "orthogonal" || init == "eva")
    return;
  refuse(adapter, kKey, "is " + init.dump() + ", which may change the base's matrices when PEFT loads it",
         "save it as plain LoRA in PEFT: save_pretrained(..., path_initial_model_for_weight_conversion=...)");
}

// PEFT matches the end of a module's name against the entries of a list.
std::array<bool, kProjections> read_targets(const json& config, const fs::path& adapter) {
  const json modules = config.value("target_modules", json());
  if (modules == "all-linear") return parse_lora_targets("all");
  if (!modules.is_array() || modules.empty())
    refuse(adapter, "target_modules", "must be a list of modules", "patterns are not read");
  std::array<bool, kProjections> targets{};
  for (const json& module : modules) {
    const std::string name = module.is_string() ? module.get<std::string>() : module.dump();
    const auto projection = find_projection(name.substr(name.rfind('.') + 1));
    if (!projection) refuse(adapter, "target_modules", "names '" + name + "', which has no adapters here");
    targets[static_cast<size_t>(*projection)] = true;
  }
  return targets;
}

std::vector<bool> read_layers(const json& config, const fs::path& adapter, size_t num_layers) {
  constexpr const char* kKey = "layers_to_transform";
  if (!config.contains(kKey) || config[kKey].is_null()) return {};
  const json list = config[kKey].is_array() ? config[kKey] : json::array({config[kKey]});
  std::vector<bool> layers(num_layers);
  for (const json& l : list) {
    if (!l.is_number_unsigned() || l.get<size_t>() >= num_layers)
      refuse(adapter, kKey, fmt::format("names layer {} of a model of {}", l.dump(), num_layers));
    layers[l.get<size_t>()] = true;
  }
  return layers;
}

LoraConfig read_lora(const json& config, const fs::path& adapter, size_t num_layers) {
  if (const json type = config.value("peft_type", json()); type != "LORA")
    refuse(adapter, "peft_type", "is " + type.dump() + ", only LORA is computed");
  require_neutral(config, adapter, "bias", "none");
  for (const char* key : {"use_dora", "fan_in_fan_out"}) require_neutral(config, adapter, key, false);
  for (const char* key : {"modules_to_save", "trainable_token_indices"})
    require_neutral(config, adapter, key, json::array());
  for (const char* key : {"rank_pattern", "alpha_pattern"})
    require_neutral(config, adapter, key, json::object());
  require_base_unchanged(config, adapter);
  LoraConfig lora;
  const json rank = config.value("r", json()), alpha = config.value("lora_alpha", json());
  if (!rank.is_number_unsigned() || rank == 0 || rank.get<uint64_t>() > 65536)
    refuse(adapter, "r", "is " + rank.dump() + ", must be a rank of 1 or more");
  if (!alpha.is_number()) refuse(adapter, "lora_alpha", "is " + alpha.dump() + ", must be a number");
  lora.rank = rank.get<size_t>();
  lora.alpha = alpha.get<double>();
  lora.rank_stabilized = config.value("use_rslora", json(false)) == json(true);
  lora.targets = read_targets(config, adapter);
  lora.layers = read_layers(config, adapter, num_layers);
  return lora;
}

json to_json(const LoraConfig& lora, const fs::path& base) {
  json modules = json::array(), layers;
  for (const Projection p : kAllProjections) {
    if (lora.has(p)) modules.push_back(projection_module(p));
  }
  for (size_t l = 0; l < lora.layers.size(); ++l) {
    if (lora.layers[l]) layers.push_back(l);
  }
  return {{"peft_type", "LORA"},
          {"task_type", "CAUSAL_LM"},
          {"base_model_name_or_path", base.string()},
          {"r", lora.rank},
          {"lora_alpha", lora.alpha},
          {"lora_dropout", 0.0},
          {"bias", "none"},
          {"target_modules", modules},
          {"layers_to_transform", layers},
          {"use_rslora", lora.rank_stabilized},
          {"use_dora", false},
          {"fan_in_fan_out", false},
          {"init_lora_weights", true},
          {"inference_mode", true},
          {"modules_to_save", json()},
          {"rank_pattern", json::object()},
          {"alpha_pattern", json::object()}};
}

void check_base(const SafetensorsFile& file, const fs::path& adapter) {
  const auto it = file.metadata().find(kBaseFingerprint);
  if (it == file.metadata().end()) return;
  const fs::path base = adapter_base(adapter);
  const std::string now = checkpoint_fingerprint(base);
  if (now == it->second) return;
  fail_file(adapter,
            fmt::format("was trained beside another base: {} has fingerprint {}, the adapter's base had {}",
                        base.string(), now, it->second),
            std::string("put its base in place, or name it in base_model_name_or_path of ") + kConfigName);
}

}  // namespace

bool is_adapter(const fs::path& path) { return fs::is_directory(path) && fs::exists(path / kConfigName); }

namespace {

fs::path named_base(const fs::path& adapter) {
  const json name = read_config_json(adapter).value("base_model_name_or_path", json());
  if (!name.is_string() || name == "") refuse(adapter, "base_model_name_or_path", "is missing");
  const fs::path base = name.get<std::string>();
  for (const fs::path& candidate : {base, adapter / base}) {
    if (fs::exists(candidate)) return resolve_model(candidate);
  }
  refuse(adapter, "base_model_name_or_path", "is '" + base.string() + "', which is not here",
         "put the base model there, or write where it is");
}

}  // namespace

fs::path adapter_base(const fs::path& adapter) {
  // A base may be an adapter with a base of its own; one that comes round again would have no end.
  std::set<fs::path> seen{fs::weakly_canonical(adapter)};
  const fs::path base = named_base(adapter);
  for (fs::path next = base; is_adapter(next); next = named_base(next)) {
    if (!seen.insert(fs::weakly_canonical(next)).second)
      refuse(adapter, "base_model_name_or_path", "leads back to " + next.string(),
             "name the model that the adapter was trained beside");
  }
  return base;
}

ModelConfig read_adapted_config(const fs::path& adapter) {
  const json config = read_config_json(adapter);
  ModelConfig model = read_config(adapter_base(adapter));
  model.lora = read_lora(config, adapter, model.num_hidden_layers);
  return model;
}

std::string checkpoint_fingerprint(const fs::path& model) {
  constexpr size_t kEnd = 4096;
  const std::unique_ptr<TensorStore> store =
      open_tensor_store(is_adapter(model) ? model / kTensorsName : model);
  uint64_t hash = 0;
  const auto add = [&](const void* data, size_t n) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    for (size_t i = 0; i < n; i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, bytes + i, std::min<size_t>(8, n - i));
      hash = mix64(hash * 0x9e3779b97f4a7c15ull + word + n);
    }
  };
  for (const auto& [name, tensor] : store->tensors()) {
    add(name.data(), name.size());
    const std::string form = std::string(stored_type_name(tensor.type)) + shape_text(tensor.shape);
    add(form.data(), form.size());
    const size_t n = std::min(kEnd, tensor.size_bytes);
    add(tensor.data, n);
    add(tensor.data + tensor.size_bytes - n, n);
  }
  if (is_adapter(model)) {
    const std::string base = checkpoint_fingerprint(adapter_base(model));
    add(base.data(), base.size());
  }
  return fmt::format("{:016x}", hash);
}

template <class S>
void save_adapter(const fs::path& folder, const ModelConfig& config, const std::vector<ParamSpec>& list,
                  const S* values, const fs::path& base, DType stored) {
  std::vector<TensorToWrite> tensors;
  for (const ParamSpec& spec : list)
    tensors.push_back({spec.name, spec.shape, values + spec.offset, dtype_of<S>(), stored});
  write_safetensors(folder / kTensorsName, tensors,
                    {{"format", "pt"}, {kBaseFingerprint, checkpoint_fingerprint(base)}});
  write_text_file(folder / kConfigName, to_json(config.lora, base).dump(2) + "\n");
}

template <class S>
void load_adapter(S* values, const std::vector<ParamSpec>& list, const fs::path& adapter) {
  const SafetensorsFile file(adapter / kTensorsName);
  check_base(file, adapter);
  std::set<std::string> used;
  for (const ParamSpec& spec : list) {
    const TensorView& tensor = file.at(spec.name);
    if (tensor.shape != spec.shape) {
      fail_tensor(
          file.path(), spec.name,
          "has shape " + shape_text(tensor.shape) + ", the base model asks for " + shape_text(spec.shape),
          tensor.offset, "is it an adapter of another model?");
    }
    read_tensor(values + spec.offset, tensor);
    if (const size_t bad = first_non_finite(values + spec.offset, spec.size()); bad < spec.size()) {
      fail_tensor(file.path(), spec.name, fmt::format("its element {} of {} is not finite", bad, spec.size()),
                  tensor.offset, "is the file damaged, or did its training diverge?");
    }
    used.insert(spec.name);
  }
  for (const auto& [name, tensor] : file.tensors()) {
    if (used.contains(name)) continue;
    fail_tensor(file.path(), name,
                std::string("is not part of the adapter that ") + kConfigName + " describes", tensor.offset);
  }
}

StoredAdapter::StoredAdapter(const fs::path& adapter)
    : fingerprint_(checkpoint_fingerprint(adapter)),
      config_(read_adapted_config(adapter)),
      list_(adapter_list(config_)),
      values_(parameter_count(list_)) {
  load_adapter(values_.data(), list_, adapter);
  for (const ParamSpec& spec : parameter_list(config_)) {
    const auto is_of = [&](const ParamSpec& p) {
      return p.role == ParamRole::kLoraA && p.layer == spec.layer && p.adapted == projection_of(spec.role);
    };
    const auto at = std::find_if(list_.begin(), list_.end(), is_of);
    if (at != list_.end()) first_[spec.name] = static_cast<size_t>(at - list_.begin());
  }
}

template <class S>
void StoredAdapter::fold(S* values, const ParamSpec& spec) const {
  const size_t first = first_.at(spec.name);
  const auto matrix = [&](const ParamSpec& p) {
    return std::vector<S>(values_.begin() + static_cast<std::ptrdiff_t>(p.offset),
                          values_.begin() + static_cast<std::ptrdiff_t>(p.offset + p.size()));
  };
  // A and B of one matrix stand one behind the other.
  const std::vector<S> a = matrix(list_[first]), b = matrix(list_[first + 1]);
  fold_adapter(values, a.data(), b.data(), spec.shape[0], spec.shape[1], config_.lora);
}

template <class W>
void load_weights(FrozenWeights<W>& weights, const fs::path& model, Progress* progress) {
  using S = Stream<W>;
  const StoredParameters stored(model, weights.config(), weights.list());
  CountedWork loaded(progress, "load", parameter_count(weights.list()), "parameters");
  std::vector<S> values;
  for (const ParamSpec& spec : weights.list()) {
    values.resize(spec.size());
    stored.read(values.data(), spec);
    weights.set(spec, values.data());
    loaded.add(spec.size());
  }
}

#define FATHOM_INSTANTIATE(S)                                                                              \
  template void save_adapter(const fs::path&, const ModelConfig&, const std::vector<ParamSpec>&, const S*, \
                             const fs::path&, DType);                                                      \
  template void load_adapter(S*, const std::vector<ParamSpec>&, const fs::path&);                          \
  template void StoredAdapter::fold(S*, const ParamSpec&) const;
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
#undef FATHOM_INSTANTIATE
template void load_weights(FrozenWeights<double>&, const fs::path&, Progress*);
template void load_weights(FrozenWeights<float>&, const fs::path&, Progress*);
template void load_weights(FrozenWeights<bf16>&, const fs::path&, Progress*);

}  // namespace fathom
