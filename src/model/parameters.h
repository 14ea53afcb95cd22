#pragma once
// The one list of a model's parameters. Allocation, initialization, reading, writing, optimizing, pruning and
// gradient norms all walk it.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"

namespace fathom {

enum class InitKind { kNormal, kConstant, kUniform };

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
  kLoraA,
  kLoraB,
};

/// Whether the role is the weight of a norm.
bool is_norm_weight(ParamRole role);
/// Which projection the role is the matrix of, if any.
std::optional<Projection> projection_of(ParamRole role);

struct ParamSpec {
  ParamRole role;
  int layer;         ///< 0-based position in the model; -1 for embedding, final norm, head.
  std::string name;  ///< Hugging Face's.
  std::string gguf_name;
  std::vector<size_t> shape;  ///< (out, in) for matrices, as Hugging Face stores them.
  size_t offset = 0;          ///< First element in a flat array of all parameters.
  InitKind init = InitKind::kConstant;
  double init_value =
      1.0;             ///< Standard deviation, the constant, or the bound of a uniform distribution around 0.
  bool decay = false;  ///< Weight decay: 2-D tensors only.
  Projection adapted = Projection::kQ;  ///< Of kLoraA and kLoraB: which matrix they stand beside.

  size_t size() const;
  bool is_matrix() const { return shape.size() == 2; }
};

/// In the order of a flat array: embedding, [embed norm], layers, final norm, [head]. Within a layer q, k, v
/// lie one behind the other, and so do gate and up, so that each group is one matrix for the kernels.
std::vector<ParamSpec> parameter_list(const ModelConfig& config, InitScheme init = InitScheme::kNormal);
size_t parameter_count(const std::vector<ParamSpec>& list);

/// A and B of every adapter that config.lora asks for, named as PEFT names them, as a list of their own. A's
/// entries are uniform within 1 / sqrt(in) (PEFT's Kaiming initialization with a = sqrt(5)), B is 0, so that
/// the model is at first what it was.
std::vector<ParamSpec> adapter_list(const ModelConfig& config);

/// The parameters that `chosen` picks, in order, laid one behind the other: their offsets are into arrays
/// that hold them alone. What is trained is such a list, and so are its gradients and moments laid out.
std::vector<ParamSpec> choose(const std::vector<ParamSpec>& list,
                              const std::function<bool(const ParamSpec&)>& chosen);

/// The parameters of the layer at 0-based position `l` as a list of their own: `layer` 0, offsets from 0.
std::vector<ParamSpec> layer_parameters(const std::vector<ParamSpec>& list, size_t l);

/// Fills `values` (parameter_count) by `seed`. A tensor's values depend on the seed and its name alone, so
/// that two schemes at the same seed start from the same matrices.
void initialize(float* values, const std::vector<ParamSpec>& list, uint64_t seed);

}  // namespace fathom
