#include "train/layer_statistics.h"

#include <cmath>

#include <gtest/gtest.h>

#include "kernels/vector_ops.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

TEST(LayerStatistics, VarianceIsOverTheHiddenDimensionThenMeanOverAllTokens) {
  LayerVariance variance(2, 4);
  // Rows of variance 0, 1 and 4; a large mean that E[x^2] - mean^2 in fp32 would lose.
  const std::vector<float> first{5, 5, 5, 5, 1e4f + 1, 1e4f - 1, 1e4f + 1, 1e4f - 1}, second{2, -2, 2, -2};
  const auto observe = [&](size_t rows, const std::vector<float>& x, TapPoint point) {
    variance.observer<float>(rows)({point, 1, nullptr, x.data()});
    variance.observer<float>(rows)({point, 0, nullptr, second.data()});
  };
  variance.observer<float>(2)({TapPoint::kMlp, 1, nullptr, first.data()});
  variance.observer<float>(1)({TapPoint::kMlp, 1, nullptr, second.data()});
  variance.observer<float>(1)({TapPoint::kMlp, 0, nullptr, second.data()});
  observe(1, first, TapPoint::kAttention);  // not a layer's output
  EXPECT_DOUBLE_EQ(variance.means()[0], 4.0);
  EXPECT_DOUBLE_EQ(variance.means()[1], 5.0 / 3.0);
}

TEST(LayerStatistics, GradientNormsSplitTheGlobalOne) {
  test::TinyModel<float> tiny(test::tiny_config(NormType::kPeri));
  const test::TinyBatch batch(2, 8, 37);
  const auto& list = tiny.weights.list();
  Gradients<float> gradients(tiny.model.config(), list);
  tiny.model.forward_backward(batch.view(), gradients, 1.0 / 16);
  const auto norms = layer_gradient_norms(list, gradients.values(), 4);
  double squares = 0;
  for (const double n : norms) {
    EXPECT_GT(n, 0);
    squares += n * n;
  }
  for (const ParamSpec& spec : list) {
    if (spec.layer < 0) squares += sum_squares(gradients.values() + spec.offset, spec.size());
  }
  EXPECT_NEAR(squares / sum_squares(gradients.values(), gradients.count()), 1.0, 1e-9);
}

}  // namespace
}  // namespace fathom
