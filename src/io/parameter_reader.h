#pragma once
// A checkpoint's parameters one at a time, whatever its format: for what passes a model through without
// holding all of it, such as an export.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "io/stored_parameters.h"
#include "model/weights.h"

namespace fathom {

/// A model's config, its list of parameters, and where they stand.
class ParameterReader {
 public:
  /// `model` is a Hugging Face folder or a .gguf file, as resolve_model gives it. Errors: those of
  /// read_config and StoredParameters.
  explicit ParameterReader(const std::filesystem::path& model)
      : config_(read_config(model)), list_(parameter_list(config_)), stored_(model, config_, list_) {}

  const ModelConfig& config() const { return config_; }
  const std::vector<ParamSpec>& list() const { return list_; }
  /// Null where the model has no parameter of that (Hugging Face) name.
  const ParamSpec* find(const std::string& name) const;
  StoredType stored_type(const ParamSpec& spec) const { return stored_.stored_type(spec); }
  /// The values as load_weights gives them.
  void read(float* out, const ParamSpec& spec) const { stored_.read(out, spec); }

 private:
  ModelConfig config_;
  std::vector<ParamSpec> list_;
  StoredParameters stored_;
};

/// Weights that are read again each time they are asked for, a layer in memory at a time; what stands outside
/// the layers stays. `change` is applied to each parameter after it was read: (values, spec).
class ReadingWeights final : public WeightSource<float> {
 public:
  using Change = std::function<void(float* values, const ParamSpec& spec)>;
  /// `config` and its list may differ from the reader's in what `change` does away with: a folded scheme has
  /// fewer parameters.
  ReadingWeights(const ParameterReader& reader, const ModelConfig& config, Change change = {});

  const ModelConfig& config() const { return config_; }
  OuterWeights<float> outer() override { return outer_views_; }
  LayerWeights<float> layer(size_t l) override;

 private:
  void read(Buffer<float>& values, const std::vector<ParamSpec>& specs);

  const ParameterReader& reader_;
  ModelConfig config_;
  Change change_;
  std::vector<ParamSpec> outer_specs_;
  std::vector<std::vector<ParamSpec>> layer_specs_;
  Buffer<float> outer_, layer_;
  OuterWeights<float> outer_views_;
};

}  // namespace fathom
