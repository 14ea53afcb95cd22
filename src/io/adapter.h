#pragma once
// Adapters on the disk, in the format of Hugging Face's PEFT: adapter_config.json and
// adapter_model.safetensors. PEFT opens what is written here, and what it wrote is read where it is plain
// LoRA.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/progress.h"
#include "model/frozen_weights.h"

namespace fathom {

/// Whether `path` is a folder that holds an adapter.
bool is_adapter(const std::filesystem::path& path);

/// The model that the adapter stands beside: base_model_name_or_path, which must be a folder or a .gguf file
/// here; one that is relative is looked for from the working folder, then from the adapter's. Errors: Error
/// naming it.
std::filesystem::path adapter_base(const std::filesystem::path& adapter);

/// The base's config with the adapter's `lora`. Errors: those of read_config; Error naming the key where the
/// adapter is of a kind that is not computed (DoRA, biases, other PEFT methods, ranks that differ from layer
/// to layer, PiSSA and others that change the base).
ModelConfig read_adapted_config(const std::filesystem::path& adapter);

/// Writes both files into `folder`, which exists. `list` is adapter_list(config), `values` flat in its order;
/// `base` is what adapter_base() will give.
template <class S>
void save_adapter(const std::filesystem::path& folder, const ModelConfig& config,
                  const std::vector<ParamSpec>& list, const S* values, const std::filesystem::path& base,
                  DType stored);

/// Reads the values of adapter_list(config), for the config of read_adapted_config(). Errors: Error naming
/// the tensor where one is missing, left over or of another shape; Error where the adapter was trained beside
/// another base than the one that stands there now (known of Fathom's own adapters).
template <class S>
void load_adapter(S* values, const std::vector<ParamSpec>& list, const std::filesystem::path& adapter);

/// A hash of a checkpoint: names, types, shapes and the ends of each tensor's bytes, as 16 hexadecimal
/// digits. It tells one checkpoint from another without reading all of it.
std::string checkpoint_fingerprint(const std::filesystem::path& model);

/// An adapter read whole, to be folded into its base's parameters as they are read.
class StoredAdapter {
 public:
  /// Errors: those of read_adapted_config and load_adapter.
  explicit StoredAdapter(const std::filesystem::path& adapter);
  /// checkpoint_fingerprint() of the adapter.
  const std::string& fingerprint() const { return fingerprint_; }
  /// Whether the parameter, by its Hugging Face name, has an adapter beside it.
  bool adapts(const ParamSpec& spec) const { return first_.contains(spec.name); }
  /// values (spec.size()) += scale B A. Shapes: those of `spec`, which adapts() is true of.
  template <class S>
  void fold(S* values, const ParamSpec& spec) const;

 private:
  std::string fingerprint_;
  ModelConfig config_;
  std::vector<ParamSpec> list_;
  std::vector<float> values_;
  std::map<std::string, size_t> first_;  // by the adapted parameter's name, where its A stands in the list
};

/// Reads a checkpoint, adapters included, into weights that nobody trains. Errors: those of load_weights.
template <class W>
void load_weights(FrozenWeights<W>& weights, const std::filesystem::path& model,
                  Progress* progress = nullptr);

}  // namespace fathom
