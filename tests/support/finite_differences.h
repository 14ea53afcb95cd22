#pragma once
// Gradients against central differences of a loss, in double.

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "core/rng.h"
#include "model/parameters.h"

namespace fathom::test {

/// Along a random direction of each tensor of `list`, the differences of order `step`^2 of `loss`, so that
/// truncation (step^2 times a third derivative) and rounding (1e-16 / step) are both far below the tolerance.
/// `values` and `gradients` are laid out by `list`; the values are moved, and put back.
inline void expect_gradients_of_differences(const std::vector<ParamSpec>& list, double* values,
                                            const double* gradients, const std::function<double()>& loss,
                                            double step) {
  for (const ParamSpec& spec : list) {
    Rng rng(11, spec.offset);
    double* const tensor = values + spec.offset;
    const std::vector<double> original(tensor, tensor + spec.size());
    std::vector<double> direction(spec.size());
    double analytic = 0, norm = 0;
    for (size_t i = 0; i < spec.size(); ++i) {
      direction[i] = rng.normal();
      const double g = gradients[spec.offset + i];
      analytic += g * direction[i];
      norm += g * g;
    }
    const auto moved = [&](double h) {
      for (size_t i = 0; i < spec.size(); ++i) tensor[i] = original[i] + h * direction[i];
      return loss();
    };
    const double numeric = (moved(step) - moved(-step)) / (2 * step);
    std::copy(original.begin(), original.end(), tensor);
    EXPECT_GT(norm, 0) << spec.name;
    EXPECT_NEAR(analytic, numeric, 1e-6 * std::max(1.0, std::sqrt(norm))) << spec.name;
  }
}

}  // namespace fathom::test
