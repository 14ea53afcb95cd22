#include "probe/golden.h"

#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "cli/live_optimizer.h"
#include "core/file.h"
#include "core/json.h"
#include "io/checkpoint.h"
#include "kernels/isa.h"
#include "support/expect_error.h"
#include "support/golden_folders.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// What a test does to a loaded model before it is held.
template <class W>
using Spoil = std::function<void(ResidentWeights<W>&, Transformer<W>&)>;

// What is computed of a golden: identity deviation takes 99% of its time.
enum class Keys { kAll, kAllButIdentityDeviation };

template <class W>
std::vector<KeyDeviation> hold(const fs::path& folder, Keys which, const Spoil<W>& spoil = {}) {
  ResidentWeights<W> weights(read_config(folder));
  load_weights(weights, folder);
  Transformer<W> model(weights.config(), weights);
  if (spoil) spoil(weights, model);
  weights.refresh();
  Golden golden = read_golden(folder);
  const bool all = which == Keys::kAll;
  if (!all) golden.expected.erase(kIdentityDeviationKey);
  return compare_golden(
      golden.expected, compute_golden<W>(model, weights, golden, cli::live_optimizer<W>, all), dtype_of<W>());
}

// An instrumented build, which looks at memory and lines and not at numbers, takes products with Jacobians on
// two goldens alone, which have all norms of a step and a window between them; the other builds on all.
Keys keys_for(const fs::path& folder) {
#if defined(FATHOM_INSTRUMENTED)
  const bool all = folder == own_goldens() / "sandwich" || folder == own_goldens() / "pre-window";
  return all ? Keys::kAll : Keys::kAllButIdentityDeviation;
#else
  (void)folder;
  return Keys::kAll;
#endif
}

template <class W>
void expect_passed(const fs::path& folder) {
  const Keys which = keys_for(folder);
  const std::vector<KeyDeviation> keys = hold<W>(folder, which);
  EXPECT_EQ(keys.size(), which == Keys::kAll ? 23u : 22u);
  for (const KeyDeviation& k : keys) {
    EXPECT_TRUE(k.passed()) << k.key << " " << k.problem << " deviates by " << k.deviation << " at "
                            << k.worst << ", tolerance " << k.tolerance;
  }
}

// Runs on each instruction set of the machine, and leaves the one that was in force.
void expect_passed_on_each_isa(const fs::path& folder) {
  const Isa before = active_isa();
  for (const Isa isa : available_isas()) {
    SCOPED_TRACE(isa_name(isa));
    set_active_isa(isa);
    expect_passed<float>(folder);
    expect_passed<bf16>(folder);
  }
  set_active_isa(before);
}

std::string name_of(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class OwnGolden : public testing::TestWithParam<std::string> {
 protected:
  fs::path folder() const { return own_goldens() / GetParam(); }
};
TEST_P(OwnGolden, ReferencePathAgreesTo1e9) { expect_passed<double>(folder()); }
TEST_P(OwnGolden, AgreesOnEachIsa) { expect_passed_on_each_isa(folder()); }
INSTANTIATE_TEST_SUITE_P(Golden, OwnGolden, testing::ValuesIn(golden_names(own_goldens())), name_of);

class SharedGolden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (shared_folder().empty())
      GTEST_SKIP() << "FATHOM_SHARED is unset and there is no ../shared beside the checkout";
  }
  fs::path folder() const { return shared_folder() / "golden" / GetParam(); }
};
TEST_P(SharedGolden, ReferencePathAgreesTo1e9) { expect_passed<double>(folder()); }
TEST_P(SharedGolden, AgreesOnEachIsa) { expect_passed_on_each_isa(folder()); }
INSTANTIATE_TEST_SUITE_P(Golden, SharedGolden,
                         testing::Values("deepnorm", "layerscale", "lns", "mix", "peri", "post", "pre",
                                         "sandwich", "scaled-init"),
                         name_of);

// ---- a verify that can't fail is none ----
// Nor does it need the identity deviation to: what is spoiled here shows in the other keys.

template <class W>
std::vector<KeyDeviation> hold_spoiled(const fs::path& folder, const Spoil<W>& spoil = {}) {
  return hold<W>(folder, Keys::kAllButIdentityDeviation, spoil);
}

std::vector<std::string> failed_keys(const std::vector<KeyDeviation>& keys) {
  std::vector<std::string> names;
  for (const KeyDeviation& k : keys) {
    if (!k.passed()) names.push_back(k.key);
  }
  return names;
}

const ParamSpec& spec_of(const ResidentWeights<float>& weights, ParamRole role, int layer) {
  for (const ParamSpec& p : weights.list()) {
    if (p.role == role && p.layer == layer) return p;
  }
  throw std::out_of_range("no such parameter");
}

void transpose(ResidentWeights<float>& weights, const ParamSpec& p) {
  float* w = weights.values(p);
  for (size_t i = 0; i < p.shape[0]; ++i) {
    for (size_t j = 0; j < i; ++j) std::swap(w[i * p.shape[1] + j], w[j * p.shape[1] + i]);
  }
}

class SpoiledGolden : public testing::TestWithParam<std::string> {
 protected:
  fs::path folder() const { return own_goldens() / GetParam(); }
};

TEST_P(SpoiledGolden, FailsWhenAnyNormWeightIsHalfAsMuchAgain) {
  const std::vector<ParamSpec> list = parameter_list(read_config(folder()));
  for (size_t i = 0; i < list.size(); ++i) {
    // The first layer's norms, the last one's, and those outside the layers; the others are alike.
    const bool chosen = list[i].layer <= 0 || list[i].layer == 4;
    if (list[i].is_matrix() || !chosen) continue;
    const auto failed = failed_keys(hold_spoiled<float>(folder(), [&](auto& weights, auto&) {
      for (size_t j = 0; j < list[i].size(); ++j) weights.values(list[i])[j] *= 1.5f;
    }));
    EXPECT_FALSE(failed.empty()) << list[i].name;
  }
}

TEST_P(SpoiledGolden, FailsWhenASquareProjectionIsTransposed) {
  const auto list = parameter_list(read_config(folder()));
  for (size_t i = 0; i < list.size(); ++i) {
    const bool square = list[i].layer == 3 && list[i].is_matrix() && list[i].shape[0] == list[i].shape[1];
    if (!square) continue;
    const auto failed = failed_keys(
        hold_spoiled<float>(folder(), [&](auto& weights, auto&) { transpose(weights, weights.list()[i]); }));
    EXPECT_FALSE(failed.empty()) << list[i].name;
  }
}

TEST_P(SpoiledGolden, FailsWhenProjectionsAreSwapped) {
  for (const auto& [a, b] : {std::pair{ParamRole::kGate, ParamRole::kUp}, {ParamRole::kK, ParamRole::kV}}) {
    const auto failed = failed_keys(hold_spoiled<float>(folder(), [&](auto& weights, auto&) {
      const ParamSpec &x = spec_of(weights, a, 2), &y = spec_of(weights, b, 2);
      std::swap_ranges(weights.values(x), weights.values(x) + x.size(), weights.values(y));
    }));
    EXPECT_FALSE(failed.empty());
  }
}

// Each constant that the scheme has, of each layer alone: a norm's scale, the residual factor.
TEST_P(SpoiledGolden, FailsWhenAConstantIsOffByOnePercent) {
  for (const size_t l : {0u, 4u}) {
    for (double StepPlan::*constant : {&StepPlan::in_scale, &StepPlan::residual}) {
      bool in_force = false;
      const auto failed = failed_keys(hold_spoiled<float>(folder(), [&](auto&, auto& model) {
        StepPlan& step = model.mutable_plans()[l].step;
        in_force = constant != &StepPlan::in_scale || step.norm_in;
        step.*constant *= 1.01;
      }));
      EXPECT_EQ(failed.empty(), !in_force) << "layer " << l + 1;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, SpoiledGolden,
                         testing::Values("deepnorm", "layerscale", "lns", "mix", "peri", "post", "pre",
                                         "sandwich"),
                         name_of);

TEST(SpoiledConfig, FailsWhenDeepNormsAlphaIsOffByOnePercentInTheFile) {
  const test::TempFolder temp;
  const fs::path folder = temp / "deepnorm";
  fs::copy(own_goldens() / "deepnorm", folder);
  nlohmann::json config = read_json(folder / "config.json");
  config["norm_scheme"]["alpha"] = std::pow(10.0, 0.25) * 1.01;  // five layers
  write_text_file(folder / "config.json", config.dump());
  EXPECT_FALSE(failed_keys(hold_spoiled<float>(folder)).empty());
  config["norm_scheme"]["alpha"] = std::pow(10.0, 0.25);
  write_text_file(folder / "config.json", config.dump());
  EXPECT_TRUE(failed_keys(hold_spoiled<float>(folder)).empty());
}

TEST(SpoiledScheme, FailsWhenLnsRunsAsPre) {
  const auto failed = failed_keys(hold_spoiled<bf16>(own_goldens() / "lns", [](auto&, auto& model) {
    for (LayerPlan& p : model.mutable_plans()) p.step.in_scale = 1;
  }));
  EXPECT_FALSE(failed.empty());
}

// ---- the comparison itself ----

using nlohmann::json;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

KeyDeviation compare_one(const std::string& key, const json& expected, const json& computed,
                         DType dtype = DType::kF32) {
  return compare_golden({{key, expected}}, {{key, computed}}, dtype).at(0);
}

TEST(CompareGolden, NotANumberFails) {
  EXPECT_FALSE(compare_one("hidden_rms", {1.0, 2.0}, {1.0, kNaN}).passed());
  EXPECT_FALSE(compare_one("grad_sum", {1.0}, {kNaN}).passed());
  EXPECT_FALSE(compare_one("loss", 1.0, std::numeric_limits<double>::infinity()).passed());
  EXPECT_FALSE(compare_one("loss", kNaN, kNaN).passed());
}

TEST(CompareGolden, TolerancesAreDesigns) {
  // Relative to the largest expected magnitude, at least 1.
  EXPECT_TRUE(compare_one("hidden_rms", {0.5, 100.0}, {0.5 + 0.0099, 100.0}).passed());
  EXPECT_FALSE(compare_one("hidden_rms", {0.5, 100.0}, {0.5 + 0.0101, 100.0}).passed());
  EXPECT_TRUE(compare_one("hidden_rms", {0.1}, {0.1 + 0.99e-4}).passed());
  EXPECT_FALSE(compare_one("hidden_rms", {0.1}, {0.1 - 1.01e-4}).passed());
  EXPECT_TRUE(compare_one("hidden_rms", {0.1}, {0.1 + 0.0199}, DType::kBf16).passed());
  EXPECT_FALSE(compare_one("hidden_rms", {0.1}, {0.1 + 0.0201}, DType::kBf16).passed());
  // Each value by itself, with a floor.
  EXPECT_FALSE(compare_one("grad_norm", {{"a", 1e-3}, {"b", 100.0}}, {{"a", 1.1e-3}, {"b", 100.0}}).passed());
  EXPECT_TRUE(compare_one("grad_norm", {{"a", 1e-9}, {"b", 100.0}}, {{"a", 1.5e-9}, {"b", 100.0}}).passed());
  EXPECT_TRUE(compare_one("loss", 0.01, 0.01 * (1 + 0.9e-5)).passed());
  EXPECT_FALSE(compare_one("loss", 0.01, 0.01 * (1 + 1.1e-5)).passed());
  EXPECT_TRUE(compare_one("loss", 4.0, 4.07, DType::kBf16).passed());
  // Absolute.
  EXPECT_FALSE(compare_one("permutation_score", {50.0}, {50.0 + 1.1e-6}).passed());
  EXPECT_TRUE(compare_one("permutation_score", {50.0}, {50.0 + 0.9e-3}, DType::kBf16).passed());
  EXPECT_TRUE(compare_one("lens_top5", {0.5}, {0.549}, DType::kBf16).passed());
  EXPECT_FALSE(compare_one("lens_top5", {0.5}, {0.51}).passed());
  // Not held.
  EXPECT_TRUE(compare_one("grad_sum", {{"a", 1.0}}, {{"a", 2.0}}).passed());
  EXPECT_TRUE(compare_one("mlp_cosine", {0.1}, {0.9}, DType::kBf16).passed());
  EXPECT_FALSE(compare_one("mlp_cosine", {0.1}, {0.9}).passed());
}

TEST(CompareGolden, ShapesAndKeysMustBeTheSame) {
  EXPECT_FALSE(compare_one("hidden_rms", {1.0, 2.0}, {1.0}).passed());
  EXPECT_FALSE(compare_one("hidden_rms", 1.0, {1.0}).passed());
  EXPECT_FALSE(compare_one("grad_norm", {{"a", 1.0}}, {{"a", 1.0}, {"b", 1.0}}).passed());
  EXPECT_FALSE(compare_one("grad_norm", {{"a", 1.0}, {"b", 1.0}}, {{"a", 1.0}}).passed());
  const auto unknown = compare_golden({{"loss", 1.0}, {"novelty", 1.0}}, {{"loss", 1.0}}, DType::kF32);
  EXPECT_EQ(failed_keys(unknown), std::vector<std::string>{"novelty"});
  const auto missing = compare_golden({{"loss", 1.0}}, {{"loss", 1.0}, {"novelty", 1.0}}, DType::kF32);
  EXPECT_EQ(failed_keys(missing), std::vector<std::string>{"novelty"});
}

TEST(ReadGolden, RefusesWhatIsNoGolden) {
  const test::TempFolder temp;
  const auto with = [&](const std::string& text) {
    write_text_file(temp / "expected.json", text);
    return read_golden(temp.path());
  };
  EXPECT_ERROR(read_golden(temp / "none"), ErrorCode::kFailed, "expected.json");
  EXPECT_ERROR(with("{"), ErrorCode::kFailed, "not valid JSON");
  EXPECT_ERROR(with("{\"tokens\": []}"), ErrorCode::kFailed, "not a golden file");
  const std::string tail = ", \"expected\": {}, \"optimizer\": {\"type\": \"adamw\"}}";
  EXPECT_ERROR(with("{\"tokens\": [[[1, 2], [1]]]" + tail), ErrorCode::kFailed, "three dimensions");
  EXPECT_ERROR(with("{\"tokens\": [[[1, -2]]]" + tail), ErrorCode::kFailed, "no token id");
  EXPECT_ERROR(with("{\"tokens\": [[[1]]]" + tail), ErrorCode::kFailed, "single token");
  EXPECT_ERROR(with("{\"tokens\": [[[1, 2]]]" + tail), ErrorCode::kFailed, "'lr'");
}

}  // namespace
}  // namespace fathom
