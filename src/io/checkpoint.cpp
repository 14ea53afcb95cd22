#include "io/checkpoint.h"

#include <list>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/tokenizer_files.h"
#include "io/adapter.h"
#include "io/gguf_model.h"
#include "io/modeling_fathom.h"
#include "io/run_checkpoints.h"
#include "io/safetensors.h"
#include "io/stored_parameters.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// What a file's values are below those in memory: Gemma stores its norms' gains less one.
double file_offset(const ParamSpec& spec, const ModelConfig& config) {
  return is_norm_weight(spec.role) ? config.norm_weight_offset : 0.0;
}

template <class S>
void shift(S* values, const ParamSpec& spec, double by) {
  if (by == 0) return;
  for (size_t i = 0; i < spec.size(); ++i) values[i] += static_cast<S>(by);
}

}  // namespace

fs::path resolve_model(const fs::path& model) {
  if (!fs::exists(model)) {
    fail({.what = "no such file or folder",
          .path = model.string(),
          .hint = "MODEL is a Hugging Face folder, a .gguf file or a run folder"});
  }
  if (is_gguf(model)) return model;
  if (fs::is_directory(model / "checkpoints")) {
    if (const auto last = last_checkpoint(model / "checkpoints")) return *last;
    fail({.what = "the run has no complete checkpoint yet", .path = model.string()});
  }
  if (!fs::is_directory(model) || !(fs::exists(model / "config.json") || is_adapter(model))) {
    fail({.what =
              "is no model: neither a folder with config.json or adapter_config.json nor a .gguf file nor a "
              "run folder",
          .path = model.string()});
  }
  return model;
}

template <class W>
void load_weights(ResidentWeights<W>& weights, const fs::path& folder, Progress* progress) {
  const StoredParameters stored(folder, weights.config(), weights.list());
  CountedWork loaded(progress, "load", weights.count(), "parameters");
  for (const ParamSpec& spec : weights.list()) {
    stored.read(weights.values(spec), spec);
    loaded.add(spec.size());
  }
  weights.refresh();
}

template <class S>
void save_model(const fs::path& folder, const ModelConfig& config, const std::vector<ParamSpec>& list,
                const S* values, DType stored, Progress* progress) {
  const nlohmann::json json = config_to_json(config, stored);
  std::vector<TensorToWrite> tensors;
  std::list<std::vector<S>> shifted;
  for (const ParamSpec& spec : list) {
    const S* from = values + spec.offset;
    if (const double offset = file_offset(spec, config); offset != 0) {
      shifted.emplace_back(from, from + spec.size());
      shift(shifted.back().data(), spec, -offset);
      from = shifted.back().data();
    }
    tensors.push_back({spec.name, spec.shape, from, dtype_of<S>(), stored});
  }
  CountedWork written(progress, "write", parameter_count(list), "parameters");
  write_safetensors(folder / "model.safetensors", tensors, {{"format", "pt"}}, &written);
  if (json["model_type"] == "fathom") write_text_file(folder / "modeling_fathom.py", kModelingFathom);
  write_text_file(folder / "config.json", json.dump(2) + "\n");
}

void copy_tokenizer_files(const fs::path& from, const fs::path& to) {
  for (const char* name : kTokenizerFiles) {
    if (fs::exists(from / name)) write_text_file(to / name, read_text_file(from / name));
  }
}

template void load_weights(ResidentWeights<double>&, const fs::path&, Progress*);
template void load_weights(ResidentWeights<float>&, const fs::path&, Progress*);
template void load_weights(ResidentWeights<bf16>&, const fs::path&, Progress*);
template void save_model(const fs::path&, const ModelConfig&, const std::vector<ParamSpec>&, const double*,
                         DType, Progress*);
template void save_model(const fs::path&, const ModelConfig&, const std::vector<ParamSpec>&, const float*,
                         DType, Progress*);

}  // namespace fathom
