#pragma once
// The one list of a model's parameters. Allocation, initialization, reading, writing, optimizing, pruning and
// gradient norms all walk it.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace fathom {

enum class InitKind { kNormal, kConstant };

/// `normal`: std = initializer_range. `scaled`: o and down divided by sqrt(2L) on top (Radford et al. 2019;
/// Megatron, OLMo).
enum class InitScheme { kNormal, kScaled };
InitScheme parse_init(const std::string& name);

enum class ParamRole {
  kEmbedding,
  kEmbedNorm,
  kFinalNorm,
  kHead,
  kQ,
  kK,
  kV,
  kO,
  kGate,
  kUp,
  kDown,
  kQBias,
  kKBias,
  kVBias,
  kQNorm,
  kKNorm,
  kAttnNormIn,
  kAttnNormOut,
  kAttnNormSum,
  kAttnGain,
  kMlpNormIn,
  kMlpNormOut,
  kMlpNormSum,
  kMlpGain,
};

/// Whether the role is the weight of a norm.
bool is_norm_weight(ParamRole role);

struct ParamSpec {
  ParamRole role;
  int layer;         ///< 0-based position in the model; -1 for embedding, final norm, head.
  std::string name;  ///< Hugging Face's.
  std::string gguf_name;
  std::vector<size_t> shape;  ///< (out, in) for matrices, as Hugging Face stores them.
  size_t offset = 0;          ///< First element in a flat array of all parameters.
  InitKind init = InitKind::kConstant;
  double init_value = 1.0;  ///< Standard deviation, or the constant.
  bool decay = false;       ///< Weight decay: 2-D tensors only.

  size_t size() const;
  bool is_matrix() const { return shape.size() == 2; }
};

/// In the order of a flat array: embedding, [embed norm], layers, final norm, [head]. Within a layer q, k, v
/// lie one behind the other, and so do gate and up, so that each group is one matrix for the kernels.
std::vector<ParamSpec> parameter_list(const ModelConfig& config, InitScheme init = InitScheme::kNormal);
size_t parameter_count(const std::vector<ParamSpec>& list);

/// The parameters of the layer at 0-based position `l` as a list of their own: `layer` 0, offsets from 0.
std::vector<ParamSpec> layer_parameters(const std::vector<ParamSpec>& list, size_t l);

/// Fills `values` (parameter_count) by `seed`. A tensor's values depend on the seed and its name alone, so
/// that two schemes at the same seed start from the same matrices.
void initialize(float* values, const std::vector<ParamSpec>& list, uint64_t seed);

}  // namespace fathom
