#pragma once
// What AdamW's settings come to for one step, shared by the fast code and the reference for moments in bf16.

#include <cmath>

#include "kernels/adamw.h"
#include "kernels/stochastic_rounding.h"

namespace fathom {

/// fp32, but computed in double: 1 - beta2 = 0.001 would lose four digits in fp32, and 1 - lr weight_decay
/// nearly all of what it differs from 1 by.
struct AdamWFactors {
  float beta1, one_minus_beta1, beta2, one_minus_beta2, grad_scale;
  float rate;          // lr / (1 - beta1^t)
  float v_correction;  // 1 / (1 - beta2^t)
  float eps, decay;    // decay = lr weight_decay
  RoundingKey key;     // of the step's random bits
};

inline AdamWFactors adamw_factors(const AdamWSettings& s) {
  const auto t = static_cast<double>(s.step);
  return {.beta1 = static_cast<float>(s.beta1),
          .one_minus_beta1 = static_cast<float>(1.0 - s.beta1),
          .beta2 = static_cast<float>(s.beta2),
          .one_minus_beta2 = static_cast<float>(1.0 - s.beta2),
          .grad_scale = static_cast<float>(s.grad_scale),
          .rate = static_cast<float>(s.lr / (1.0 - std::pow(s.beta1, t))),
          .v_correction = static_cast<float>(1.0 / (1.0 - std::pow(s.beta2, t))),
          .eps = static_cast<float>(s.eps),
          .decay = static_cast<float>(s.lr * s.weight_decay),
          .key = rounding_key(s.seed, s.step)};
}

}  // namespace fathom
