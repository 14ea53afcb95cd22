#pragma once
// How a model stretches its rotary positions beyond the context that it was first trained on.

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/rope.h"

namespace fathom {

/// Names and fields as `rope_scaling` of Hugging Face's config.json has them.
struct RopeScaling {
  enum class Type { kNone, kLinear, kLlama3, kYarn, kFactors };
  Type type = Type::kNone;
  double factor = 1.0;
  double original_context = 0;                           ///< original_max_position_embeddings; llama3, yarn
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  ///< llama3
  double beta_fast = 32.0, beta_slow = 1.0;              ///< yarn
  double attention_factor = 0;                           ///< yarn; 0: 0.1 ln(factor) + 1
  double mscale = 0, mscale_all_dim = 0;                 ///< yarn, as DeepSeek-V2 sets them; 0: none
  std::vector<double> factors = {};                      ///< factors: a divisor for each frequency (HS/2)
  bool truncate = true;                                  ///< yarn: whole dimensions at the ramp's ends
};

/// "linear", "llama3", "yarn".
std::string rope_scaling_name(RopeScaling::Type type);

/// The frequencies of a head of HS dimensions.
///   factors: each divided by its own (GGUF files hold Llama 3's scaling as such a list).
///   linear: divided by the factor (Chen et al. 2023, arXiv:2306.15595).
///   llama3: those whose wavelength passes original_context / low_freq_factor divided by the factor, those
///     below original_context / high_freq_factor kept, a blend between (Llama 3.1, arXiv:2407.21783).
///   yarn: a ramp over dimensions from kept (beta_fast turns over the original context) to divided (beta_slow
///     turns), and a magnitude on the rotated vectors (Peng et al. 2023, arXiv:2309.00071, section 3.3).
RopeFrequencies scaled_frequencies(size_t HS, double theta, const RopeScaling& scaling);

}  // namespace fathom
