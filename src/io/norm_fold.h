#pragma once
// A scheme's constants multiplied into the weights beside them, so that a stock Llama computes the same
// function (exact algebra, one rounding a weight): LNS's 1/sqrt(l) into both norms' gains, LayerScale's gain
// into the rows of o and down. A layer of a pruned model keeps the constant of its original index.

#include <vector>

#include "io/parameter_reader.h"

namespace fathom {

class NormFold {
 public:
  /// Reads LayerScale's gains; `reader` outlives this. Errors: Error (usage) for a scheme that is no function
  /// of other weights under Pre-LN, saying what can hold it.
  explicit NormFold(const ParameterReader& reader);

  /// The source's config under the scheme `pre`.
  const ModelConfig& config() const { return config_; }
  /// Whether apply() changes values of that role.
  bool changes(ParamRole role) const;
  /// values (of the source's parameter `spec`) <- what they are in a stock Llama.
  void apply(float* values, const ParamSpec& spec) const;

 private:
  NormType from_;
  ModelConfig config_;
  std::vector<LayerPlan> plans_;
  std::vector<std::vector<float>> attn_gains_, mlp_gains_;  ///< by layer; of LayerScale
};

}  // namespace fathom
