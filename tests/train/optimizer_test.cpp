#include "train/optimizer.h"

#include <cmath>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "io/checkpoint.h"
#include "kernels/vector_ops.h"
#include "support/expect_error.h"
#include "support/golden_folders.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

TEST(Optimizer, ClipsOnlyAboveTheBound) {
  EXPECT_DOUBLE_EQ(clip_factor(0.25, 0.5), 1.0);
  EXPECT_DOUBLE_EQ(clip_factor(2.0, 0.5), 0.5 / 2.000001);
  EXPECT_DOUBLE_EQ(clip_factor(1e9, 0.0), 1.0) << "0 switches clipping off";
  EXPECT_DOUBLE_EQ(clip_factor(0.0, 1.0), 1.0);
}

TEST(Optimizer, DecaysMatricesAlone) {
  const ModelConfig config = test::tiny_config(NormType::kSandwich);
  const auto list = parameter_list(config);
  const size_t n = parameter_count(list);
  std::vector<float> values(n, 2.0f), gradients(n, 0.0f);
  OptimizerSettings settings;
  settings.weight_decay = 0.5;
  AdamW<float> optimizer(list, settings);
  optimizer.update(values.data(), nullptr, gradients.data(), 0.1, 1.0);
  for (const ParamSpec& spec : list) {
    for (size_t i = 0; i < spec.size(); ++i)
      ASSERT_FLOAT_EQ(values[spec.offset + i], spec.is_matrix() ? 1.9f : 2.0f) << spec.name;
  }
  EXPECT_EQ(optimizer.updates(), 1u);
}

TEST(Optimizer, WritesTheBf16CopyInTheSamePass) {
  const auto list = parameter_list(test::tiny_config(NormType::kPre));
  const size_t n = parameter_count(list);
  std::vector<float> values(n, 1.0f), gradients(n, 0.3f);
  std::vector<bf16> copy(n);
  AdamW<float> optimizer(list, {});
  optimizer.update(values.data(), copy.data(), gradients.data(), 1e-2, 1.0);
  for (size_t i = 0; i < n; ++i) ASSERT_EQ(copy[i].bits, bf16(values[i]).bits);
}

TEST(Optimizer, KeepsMomentsInTheTypeAskedFor) {
  const auto list = parameter_list(test::tiny_config(NormType::kPre));
  OptimizerSettings settings;
  for (const bool half : {false, true}) {
    settings.bf16_state = half;
    AdamW<float> optimizer(list, settings);
    optimizer.visit_moments([&](const auto& moments) {
      EXPECT_EQ(sizeof(*moments.m.data()), half ? 2u : 4u);
      EXPECT_EQ(moments.v.size(), parameter_count(list));
    });
  }
  EXPECT_ERROR(AdamW<double>(list, settings), ErrorCode::kFailed, "moments in bf16");
}

// The random bits follow the seed: the same seed gives the same run, another one another.
TEST(Optimizer, RoundsMomentsByItsSeed) {
  const auto list = parameter_list(test::tiny_config(NormType::kPre));
  const size_t n = parameter_count(list);
  const auto values_after = [&](uint64_t seed) {
    std::vector<float> values(n, 1.0f), gradients(n, 0.3f);
    OptimizerSettings settings;
    settings.bf16_state = true;
    settings.seed = seed;
    AdamW<float> optimizer(list, settings);
    for (int step = 0; step < 3; ++step)
      optimizer.update(values.data(), nullptr, gradients.data(), 1e-2, 1.0 + 0.1 * step);
    return values;
  };
  EXPECT_EQ(values_after(1), values_after(1));
  EXPECT_NE(values_after(1), values_after(2));
}

OptimizerSettings settings_of(const nlohmann::json& o, bool bf16_state) {
  return {.beta1 = o["beta1"],
          .beta2 = o["beta2"],
          .eps = o["eps"],
          .weight_decay = o["weight_decay_on_2d"],
          .bf16_state = bf16_state,
          .seed = 1};
}

// Twenty steps of a golden, by the optimizer and the clipping rule that training uses.
template <class W>
void expect_golden_losses(const std::filesystem::path& folder, const char* key, double clip, double tolerance,
                          bool bf16_state = false) {
  using S = Stream<W>;
  const auto json = read_json(folder / "expected.json");
  const auto& o = json["optimizer"];
  const ModelConfig config = read_config(folder);
  ResidentWeights<W> weights(config);
  load_weights(weights, folder);
  Transformer<W> model(config, weights);
  Gradients<S> gradients(config, weights.list());
  AdamW<S> optimizer(weights.list(), settings_of(o, bf16_state));
  const auto& expected = json["expected"][key];
  for (size_t step = 0; step < expected.size(); ++step) {
    const auto sequences = json["tokens"][step].get<std::vector<std::vector<int32_t>>>();
    std::vector<int32_t> inputs, targets;
    for (const auto& s : sequences) {
      inputs.insert(inputs.end(), s.begin(), s.end() - 1);
      targets.insert(targets.end(), s.begin() + 1, s.end());
    }
    const Batch batch{sequences.size(), sequences[0].size() - 1, inputs.data(), targets.data(), nullptr};
    gradients.zero();
    const auto n = static_cast<double>(batch.rows());
    const double loss = model.forward_backward(batch, gradients, 1.0 / n) / n;
    const double norm = std::sqrt(sum_squares(gradients.values(), gradients.count()));
    optimizer.update(weights.values(), weights.copy(), gradients.values(), o["lr"], clip_factor(norm, clip));
    const double want = expected[step];
    ASSERT_TRUE(std::abs(loss - want) <= tolerance * std::max(1.0, want))
        << folder << " " << key << " step " << step << ": " << loss << " for " << want;
  }
}

TEST(Optimizer, FollowsOurGoldens) {
  ASSERT_FALSE(golden_names(own_goldens()).empty());
  for (const std::string& name : golden_names(own_goldens())) {
    expect_golden_losses<double>(own_goldens() / name, "adamw_losses", 0, 1e-7);
    expect_golden_losses<double>(own_goldens() / name, "adamw_clip_losses", 0.5, 1e-7);
  }
  expect_golden_losses<bf16>(own_goldens() / "lns", "adamw_clip_losses", 0.5, 2e-2);
  // Moments in bf16: unbiased noise of up to 2^-8 on each, against the tolerance of bf16.
  for (const std::string& name : golden_names(own_goldens()))
    expect_golden_losses<float>(own_goldens() / name, "adamw_clip_losses", 0.5, 2e-2, true);
}

TEST(Optimizer, FollowsTheSharedGoldens) {
  if (shared_folder().empty())
    GTEST_SKIP() << "no ../shared beside the checkout, and FATHOM_SHARED is not set";
  const std::filesystem::path parent = shared_folder() / "golden";
  for (const std::string& name : golden_names(parent)) {
    expect_golden_losses<float>(parent / name, "adamw_clip_losses", 0.5, 1e-4);
  }
}

}  // namespace
}  // namespace fathom
