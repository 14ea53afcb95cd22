#include "model/rope_scaling.h"

#include <algorithm>
#include <cmath>

namespace fathom {
namespace {

void scale_llama3(RopeFrequencies& f, const RopeScaling& s) {
  const double longest = s.original_context / s.low_freq_factor;
  const double shortest = s.original_context / s.high_freq_factor;
  for (double& w : f.radians) {
    const double wavelength = 2 * M_PI / w;
    if (wavelength < shortest) continue;
    if (wavelength > longest) {
      w /= s.factor;
      continue;
    }
    const double kept =
        (s.original_context / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
    w = (1 - kept) * w / s.factor + kept * w;
  }
}

// The dimension (of HS) that makes `turns` turns over the original context.
double dimension_of(double turns, double HS, double theta, double context) {
  return HS * std::log(context / (turns * 2 * M_PI)) / (2 * std::log(theta));
}

double magnitude_of(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

void scale_yarn(RopeFrequencies& f, double HS, double theta, const RopeScaling& s) {
  double low = dimension_of(s.beta_fast, HS, theta, s.original_context);
  double high = dimension_of(s.beta_slow, HS, theta, s.original_context);
  if (s.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, HS - 1);
  if (low == high) high += 0.001;  // a step, without a division by zero
  for (size_t i = 0; i < f.radians.size(); ++i) {
    const double divided = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    f.radians[i] = f.radians[i] / s.factor * divided + f.radians[i] * (1 - divided);
  }
  if (s.attention_factor > 0) {
    f.magnitude = s.attention_factor;
  } else if (s.mscale > 0 && s.mscale_all_dim > 0) {
    f.magnitude = magnitude_of(s.factor, s.mscale) / magnitude_of(s.factor, s.mscale_all_dim);
  } else {
    f.magnitude = magnitude_of(s.factor, 1.0);
  }
}

}  // namespace

std::string rope_scaling_name(RopeScaling::Type type) {
  switch (type) {
    case RopeScaling::Type::kLinear:
      return "linear";
    case RopeScaling::Type::kLlama3:
      return "llama3";
    case RopeScaling::Type::kYarn:
      return "yarn";
    case RopeScaling::Type::kFactors:
      return "factors";
    case RopeScaling::Type::kNone:
      break;
  }
  return "default";
}

RopeFrequencies scaled_frequencies(size_t HS, double theta, const RopeScaling& s) {
  RopeFrequencies f = rope_frequencies(HS, theta);
  switch (s.type) {
    case RopeScaling::Type::kNone:
      break;
    case RopeScaling::Type::kLinear:
      for (double& w : f.radians) w /= s.factor;
      break;
    case RopeScaling::Type::kFactors:
      for (size_t i = 0; i < f.radians.size(); ++i) f.radians[i] /= s.factors[i];
      break;
    case RopeScaling::Type::kLlama3:
      scale_llama3(f, s);
      break;
    case RopeScaling::Type::kYarn:
      scale_yarn(f, static_cast<double>(HS), theta, s);
      break;
  }
  return f;
}

}  // namespace fathom
