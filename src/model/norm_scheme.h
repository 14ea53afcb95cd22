#pragma once
// Normalization schemes: one table. Each layer applies its step twice, attention then MLP; a row of the table
// says which norms stand where and with which constants. The block reads the resulting plan and knows no
// scheme by name. A new scheme is a new row in norm_scheme.cpp and nothing else.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

enum class NormType { kPre, kLns, kPost, kDeepNorm, kMix, kSandwich, kPeri, kLayerScale, kReordered };

/// A scheme with its constants. A constant that is 0 takes the scheme's default for the depth at hand.
struct NormScheme {
  NormType type = NormType::kPre;
  double alpha = 0;                      ///< deepnorm: residual factor; default (2L)^(1/4).
  size_t post_layers = kDefault;         ///< mix: the number of post-type layers; default floor(L/4).
  double layerscale_init = 0.1;          ///< layerscale: initial gain.
  size_t num_layers_original = 0;        ///< L of the formulas for a pruned model; 0: the number of layers.
  std::vector<size_t> layer_index = {};  ///< 1-based original indices of the kept layers; empty: 1..L.

  static constexpr size_t kDefault = static_cast<size_t>(-1);
};

/// What a sublayer's step does, x being the stream and F the sublayer:
///   h = norm_in ? in_scale * N_in(x) : x;   y = F(h);   y = norm_out ? N_out(y) : y;   y = gain ? g * y : y;
///   s = residual * x + y;   x' = norm_sum ? N_sum(s) : s
struct StepPlan {
  bool norm_in = false;
  bool norm_out = false;
  bool norm_sum = false;
  bool gain = false;
  double in_scale = 1.0;
  double residual = 1.0;
};

/// One layer's plan, the same for both of its steps. `index` is the 1-based original index.
struct LayerPlan {
  size_t index = 0;
  StepPlan step;
};

/// "pre", "lns", ...: the names of design and config files.
std::string_view norm_name(NormType type);
std::vector<std::string> norm_names();
/// Errors: Error (usage) on an unknown name, with the nearest one; names are compared exactly.
NormType parse_norm(const std::string& name);
/// The scheme's formula and source, for people.
std::string_view norm_description(NormType type);

/// One plan a layer. Errors: Error where layer_index does not fit (wrong length, not rising, beyond the
/// original depth) or post_layers exceeds the depth.
std::vector<LayerPlan> layer_plans(const NormScheme& scheme, size_t num_layers);

/// The constants in force at depth L: alpha for deepnorm, post_layers for mix, the original depth and indices
/// filled in.
NormScheme resolved(const NormScheme& scheme, size_t num_layers);

/// True where the embedding output is normalized (peri).
bool has_embed_norm(NormType type);
/// Factor on the normal init of v, o, gate, up and down (deepnorm: (8L)^(-1/4); otherwise 1).
double init_factor(NormType type, size_t num_layers_original);
/// True where a stock Llama computes the scheme exactly.
bool is_plain_llama(const NormScheme& scheme);

}  // namespace fathom
