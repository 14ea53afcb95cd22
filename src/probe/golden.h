#pragma once
// Golden directories: a checkpoint with expected.json, what an independent program computes from it. The live
// model computes the same keys here, through the observers and programs that everything else uses, and is
// held to them.
//
// expected.json: {"tokens": [steps][batch][seq + 1], "optimizer": {...}, "expected": {key: value}}. All keys
// but the two AdamW trajectories are of step 0's batch and the weights as stored.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernels/adamw.h"
#include "model/transformer.h"

namespace fathom {

struct Golden {
  size_t steps = 0, B = 0, T = 0;
  std::vector<int32_t> inputs, targets;  ///< (steps, B, T) each
  AdamWSettings optimizer;               ///< weight_decay is that of matrices; vectors do not decay
  double clip = 0;                       ///< global norm of the second trajectory
  nlohmann::json expected;

  Batch batch(size_t step) const;
};

/// Reads folder/expected.json. Errors: Error naming the file and what is missing or malformed.
Golden read_golden(const std::filesystem::path& folder);

/// One update of the weights by a step's gradients (flat, in the order of the parameter list), clipped to the
/// global norm `clip` (0: not clipped).
template <class S>
using GoldenUpdate = std::function<void(const S* gradients, double clip)>;
/// A fresh optimizer with the golden's settings over `weights`. The caller hands in the one that trains,
/// which this folder may not know, so that it is the live one that is held to the trajectories.
template <class W>
using GoldenOptimizer = std::function<GoldenUpdate<Stream<W>>(ResidentWeights<W>&, const AdamWSettings&)>;

/// The key that takes nearly all the time: a product with each layer's Jacobian for each number of its input.
inline constexpr const char* kIdentityDeviationKey = "identity_deviation_first_sequence";

/// Every key of a golden, computed by `model`, which runs on `weights`; kIdentityDeviationKey only where
/// `with_identity_deviation`. The weights are trained on the way and put back.
template <class W>
nlohmann::json compute_golden(Transformer<W>& model, ResidentWeights<W>& weights, const Golden& golden,
                              const GoldenOptimizer<W>& optimizer, bool with_identity_deviation = true);

/// How far a computed key is from the expected one.
struct KeyDeviation {
  std::string key;
  double deviation = 0;  ///< largest abs(computed - expected) / what is allowed times `tolerance`
  double tolerance = 0;  ///< 0: the key is shown, not held
  std::string worst;     ///< where in the key, "[3][1]" or "[model.norm.weight]"
  std::string problem;   ///< a fault that no number tells: missing, unknown, another shape, not finite
  bool passed() const { return problem.empty() && (tolerance == 0 || deviation <= tolerance); }
};

/// Holds `computed` to `expected`, key by key: agreement is abs(a - b) <= tolerance * scale, NaN failing.
/// scale is max(1, the key's largest expected magnitude); for loss and gradient norms the value's own
/// magnitude, at least 1e-6 of the largest; for permutation scores 1. kF32 and kBf16 have the tolerances of
/// rule_for() in golden.cpp; kF64 (the reference path) holds everything to 1e-9. A key on one side only
/// fails.
std::vector<KeyDeviation> compare_golden(const nlohmann::json& expected, const nlohmann::json& computed,
                                         DType dtype);

}  // namespace fathom
