#include "io/rope_factors.h"

#include <algorithm>
#include <cmath>

namespace fathom {

std::vector<float> rope_factors(size_t HS, double theta, const RopeScaling& scaling) {
  const std::vector<double> plain = rope_frequencies(HS, theta).radians;
  const std::vector<double> scaled = scaled_frequencies(HS, theta, scaling).radians;
  std::vector<float> factors;
  for (size_t i = 0; i < plain.size(); ++i) factors.push_back(static_cast<float>(plain[i] / scaled[i]));
  return factors;
}

std::optional<RopeScaling> recognize_llama3(size_t HS, double theta, const std::vector<double>& factors) {
  if (factors.size() != HS / 2) return {};
  RopeScaling scaling{.type = RopeScaling::Type::kLlama3};
  scaling.factor = *std::max_element(factors.begin(), factors.end());
  for (double context = 16; context <= 1 << 20; context *= 2) {
    scaling.original_context = context;
    const std::vector<float> candidate = rope_factors(HS, theta, scaling);
    const auto same = [](double a, float b) { return std::abs(a - static_cast<double>(b)) <= 1e-5 * a; };
    if (std::equal(factors.begin(), factors.end(), candidate.begin(), same)) return scaling;
  }
  return {};
}

}  // namespace fathom
